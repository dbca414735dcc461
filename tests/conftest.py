"""Shared by all tests."""

import os

os.environ.setdefault("MPLBACKEND", "Agg")
