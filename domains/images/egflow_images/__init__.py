"""Pictures with energies on what is seen: handwritten digits, emoji, discs of known factors, any folder.

The parts are in `egflow_images.digits`, `egflow_images.energies` and `egflow_images.domain`; this module holds only
the card of the domain, so that a listing of domains stays fast.
"""

from egflow.domain import DomainSpec

__all__ = ["SPEC"]

SPEC = DomainSpec(
    name="images",
    package="egflow_images",
    implementation="egflow_images.domain:Images",
    extra="images",
    help="pictures: digits, emoji, discs of known factors, any folder; energies of colour, ink, symmetry, …",
    requires=("sklearn", "scipy", "PIL"),
    decode="egflow_images.pictures:Pictures",
)
