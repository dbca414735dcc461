"""Probability paths x_t = alpha_t x_1 + sigma_t x_0, and every conversion between what a network may predict."""

from egflow.path._path import PATHS, VP, CondOT, Cosine, Path, PathSample, Prediction, make_path

__all__ = ["PATHS", "VP", "CondOT", "Cosine", "Path", "PathSample", "Prediction", "make_path"]
