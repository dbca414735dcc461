"""--help names domains, keys and examples; the settings shown are those a run would have."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_shell import shell

from egflow.cli._compose import Arguments, compose, flatten
from egflow.cli._help import help_text
from egflow.cli._settings import CHECKS, check
from egflow.domain import domains


@pytest.mark.parametrize("command", CHECKS)
def test_help_is_whole_and_readable(command: str) -> None:
    text = help_text(command)
    assert max(map(len, text.splitlines())) <= 130 and f"python -m egflow.{command}" in text
    for key in CHECKS[command]:
        assert f"{key.rpartition('.')[2]}:" in text
    if command == "train":
        assert all(f"domain={name}" in text and spec.help in text for name, spec in domains().items())


def test_help_through_a_shell(tmp_path: Path) -> None:
    result = shell("egflow train --help", tmp_path)
    assert (result.returncode, result.stderr) == (0, "") and "domain=toy" in result.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("domain", sorted(domains()))
def test_every_key_is_checked_and_every_default_passes(domain: str) -> None:
    settings = compose("train", Arguments({"domain": domain}))
    check("train", settings)
    core = {key for key in flatten(settings) if key.partition(".")[0] != domain}
    assert core == CHECKS["train"].keys()
