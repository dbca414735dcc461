"""Shared by all tests."""

import os
import signal
from collections.abc import Iterator

import pytest
from _browser import browser_page as browser_page
from _browser import chromium as chromium

os.environ.setdefault("MPLBACKEND", "Agg")
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # a core for each; before torch is there


@pytest.fixture
def sigint() -> Iterator[None]:
    """Python's own handler, for a shell starts background jobs with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
