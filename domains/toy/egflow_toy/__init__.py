"""Two-dimensional densities to learn on: the classic toy sets, with energies and exact references.

The parts are in `egflow_toy.densities`, `egflow_toy.energies` and `egflow_toy.domain`; this module holds only the card
of the domain, so that a listing of domains stays fast.
"""

from egflow.domain import DomainSpec

__all__ = ["SPEC"]

SPEC = DomainSpec(
    name="toy",
    package="egflow_toy",
    implementation="egflow_toy.domain:Toy",
    extra="toy",
    help="two-dimensional densities (8gaussians, swissroll, rings, moons, 2spirals, checkerboard, pinwheel, gaussian)",
)
