"""The Hugging Face hub: a folder as `Flow.save_pretrained` writes it, sent by the hub's mixin, fetched as a snapshot.

huggingface_hub is imported only when a repository is named. Its mixin sends; it does not read, for it would parse a
stranger's config.json unchecked and hand what it finds to our constructors: `Flow.load` reads, and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from egflow.flow._card import LIBRARY, TAGS, model_card
from egflow.flow._storage import save_flow

if TYPE_CHECKING:
    from egflow.flow._flow import Flow

_READ = ("model.json", "weights.safetensors", "report.json")
_NEEDED = [f"{where}{name}" for where in ("", "base/", "base/*/") for name in _READ]  # * matches any depth


def folder_of(name: str | PathLike[str], **options: Any) -> Path:
    """The local folder of a flow: itself, or the hub's snapshot of "owner/name"; see `Flow.from_pretrained`."""
    if not isinstance(name, str) or Path(name).is_dir():
        return Path(name)
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", name):
        raise FileNotFoundError(f"{name!r} is no folder, and no name at the hub, which is 'owner/name'")
    with _told(f"there is no folder {name}, and the hub does not give the repository"):
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(name, allow_patterns=_NEEDED, library_name=LIBRARY, **options))


def push(flow: Flow, repo_id: str, *, license: str | None, data: str | None, **options: Any) -> str:
    """Send a flow, see `Flow.push_to_hub`."""
    card = model_card(flow, license=license, data=data, repo_id=repo_id)
    with _told(f"{repo_id} was not sent to the hub"):
        from huggingface_hub import ModelHubMixin

        class Model(ModelHubMixin, library_name=LIBRARY, tags=list(TAGS)):
            """The flow as the mixin takes it: it makes the repository and a temporary folder, and sends that."""

            def _save_pretrained(self, save_directory: Path) -> None:
                save_flow(flow, save_directory, card)

        return str(Model().push_to_hub(repo_id, **options))


@contextmanager
def _told(what: str) -> Iterator[None]:
    """The hub's errors in one line: a missing package, a repository that is not there, a network that is not."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != "huggingface_hub":
            raise
        raise ModuleNotFoundError(
            f"{what}: that needs huggingface_hub, install it with  pip install 'egflow[hub]'", name=error.name
        ) from None
    except Exception as error:  # the hub's HTTP library has changed once, and its errors are no OSError
        kinds = [one for one in (ValueError, TypeError, OSError) if isinstance(error, one)]
        kind = FileNotFoundError if "NotFound" in type(error).__name__ else [*kinds, OSError][0]
        raise kind(f"{what}: {' '.join(str(error).split()) or type(error).__name__}") from None
