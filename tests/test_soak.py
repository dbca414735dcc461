"""The soak of ``benchmarks/soak.py`` in a short form: three tilts, whose energy raises, hangs and is NaN."""

from __future__ import annotations

from pathlib import Path

import pytest

from egflow.cli._benchmark import benchmarks_folder, load_suite


@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="it looks into /proc")
def test_nothing_is_lost_and_nothing_grows(tmp_path: Path) -> None:
    rows = list(load_suite(benchmarks_folder(), "soak").run(out=tmp_path, quick=True))
    assert len(rows) == 3 and all(row["asked"] == 400 and row["lost"] == 0 for row in rows)
    for row in rows:
        parts = ("finite", "forbidden", "nan", "hang", "exception", "late", "lost")
        assert sum(row[part] for part in parts) == row["asked"]
    assert sum(row["hang"] for row in rows) > 0 and sum(row["exception"] for row in rows) > 0
    assert len({row["handles"] for row in rows[1:]}) == 1 and len({row["processes"] for row in rows[1:]}) == 1
    assert rows[2]["growth"] < 2
