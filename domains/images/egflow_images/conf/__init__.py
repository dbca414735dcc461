"""Hydra configs of the images domain, found as pkg://egflow_images.conf."""
