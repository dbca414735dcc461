"""Two lengths: `pytest tests/fuzz`, short and always the same, and `pytest tests/fuzz --hypothesis-profile=long`."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.configuration import set_hypothesis_home_dir

COMMON = settings(
    deadline=None,  # `fuzzing.judged` stops what hangs; what is slow on a busy machine is no fault
    suppress_health_check=list(HealthCheck),
    database=None,
    phases=[Phase.explicit, Phase.generate],  # an example that fails is short enough as it is
    print_blob=False,
)
settings.register_profile("short", COMMON, max_examples=12, derandomize=True)
settings.register_profile("long", COMMON, max_examples=250, report_multiple_bugs=True)
if not any(word.startswith("--hypothesis-profile") for word in sys.argv):
    settings.load_profile("short")


@pytest.fixture(scope="module", autouse=True)
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The working folder of a module, in which no test leaves anything."""
    folder = tmp_path_factory.mktemp("working")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("HOME", str(folder))
        set_hypothesis_home_dir(tmp_path_factory.mktemp("hypothesis"))
        yield folder
    assert list(folder.iterdir()) == []
