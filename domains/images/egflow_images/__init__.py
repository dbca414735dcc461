"""Pictures: real data with energies on what is seen. For now scikit-learn's 1,797 handwritten 8x8 digits.

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
    help="pictures: 1,797 real handwritten 8x8 digits, energies ink, symmetry and class",
    requires=("sklearn",),
)
