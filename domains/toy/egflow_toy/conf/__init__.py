"""Hydra configs of the toy domain, found as pkg://egflow_toy.conf."""
