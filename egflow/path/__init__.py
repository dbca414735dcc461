"""Probability paths: x_t = alpha_t x_1 + sigma_t x_0 with every conversion of predictions; and paths for tokens."""

from egflow.path._path import PATHS, VP, CondOT, Cosine, Path, PathSample, Prediction, make_path
from egflow.path._tokens import TOKEN_PATHS, Masked, Sequential, TokenPath, TokenPoint, UniformTokens, make_token_path
from egflow.path._vocabulary import Vocabulary

__all__ = [
    "PATHS",
    "TOKEN_PATHS",
    "VP",
    "CondOT",
    "Cosine",
    "Masked",
    "Path",
    "PathSample",
    "Prediction",
    "Sequential",
    "TokenPath",
    "TokenPoint",
    "UniformTokens",
    "Vocabulary",
    "make_path",
    "make_token_path",
]
