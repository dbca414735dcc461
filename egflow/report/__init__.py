"""The honest account of a tilt: figures with their errors and floors, a verdict in words, a table and pictures."""

from egflow.report._distance import Halved, halved_distance
from egflow.report._energies import matched_beta, weighted_ks, weighted_mean, weighted_w1
from egflow.report._figures import save_figures
from egflow.report._range import combine
from egflow.report._record import Beta, Evidence, TiltReport
from egflow.report._report import report
from egflow.report._several import weighted_sum
from egflow.report._sliced import directions, sliced_w2
from egflow.report._split import held_out_split
from egflow.report._table import beta_words

__all__ = [
    "Beta",
    "Evidence",
    "Halved",
    "TiltReport",
    "beta_words",
    "combine",
    "directions",
    "halved_distance",
    "held_out_split",
    "matched_beta",
    "report",
    "save_figures",
    "sliced_w2",
    "weighted_ks",
    "weighted_mean",
    "weighted_sum",
    "weighted_w1",
]
