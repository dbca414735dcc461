"""The peers, for comparison: other ways to q ∝ p·exp(−beta·E), each a page written from its paper.

    cep                     trains an intermediate energy, adds its gradient     3 passes an evaluation
    gradient_guidance       adds −beta·∇E(x̂_1): no training, needs ∇E, biased    2
    monte_carlo_guidance    weighs data points anew at each step: no training    1, and a pass over the points
    best_of_n               draws N, keeps the best one (or resamples one)       N times the base's

All but the last return a `Flow`; all have ``sample(n, condition, …)`` and ``solve``, so that `egflow.report` judges
them as it judges a tilt. egflow's own way is `egflow.tilt`, 1 pass an evaluation.
"""

from egflow.guidance._best_of_n import BestOfN, best_of_n
from egflow.guidance._cep import ContrastiveVelocity, Potential, cep, contrastive_loss
from egflow.guidance._gradient import gradient_guidance
from egflow.guidance._guided import Sampler, network_passes
from egflow.guidance._monte_carlo import monte_carlo_guidance

__all__ = [
    "BestOfN",
    "ContrastiveVelocity",
    "Potential",
    "Sampler",
    "best_of_n",
    "cep",
    "contrastive_loss",
    "gradient_guidance",
    "monte_carlo_guidance",
    "network_passes",
]
