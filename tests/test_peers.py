"""The environments of peers in `suite=libraries`, without making one."""

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
from _peers import Peer, PeerMissing, environment


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """The commands given to a pip that succeeds, in environments that are empty folders below tmp_path."""
    commands: list[list[str]] = []

    def install(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        failed = any("absent" in word for word in command)
        return subprocess.CompletedProcess(command, int(failed), "", "ERROR: no such package" if failed else "")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(
        venv, "create", lambda folder, with_pip: (folder / "lib/python3/site-packages").mkdir(parents=True)
    )
    monkeypatch.setattr(subprocess, "run", install)
    return commands


def test_an_environment_is_made_once_and_shares_the_running_torch(pip: list[list[str]], tmp_path: Path) -> None:
    python = environment("peer", ("peer==1", "other"))
    assert python == environment("peer", ("peer==1", "other")) and len(pip) == 1
    assert pip[0][-4:] == ["--quiet", "--no-deps", "peer==1", "other"]
    (shared,) = tmp_path.rglob("*.pth")
    assert shared.read_text().strip() == sysconfig.get_paths()["purelib"]
    assert environment("peer", ("peer==2",)) != python  # another version is another environment


def test_a_peer_that_cannot_be_installed_is_said_and_tried_again(pip: list[list[str]]) -> None:
    for tries in (1, 2):
        with pytest.raises(PeerMissing, match="pip could not install it: ERROR: no such package"):
            environment("peer", ("absent",))
        assert len(pip) == tries


def test_a_process_that_ends_says_why(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("raise ModuleNotFoundError('no module named peer')")
    peer = Peer("peer", Path(sys.executable), script, tmp_path)
    with pytest.raises(PeerMissing, match="its process ended: ModuleNotFoundError: no module named peer"):
        peer.ask("solvers")
    peer.close()
