"""What a flow is in a folder and at the Hugging Face hub; one layout for both, see `egflow.flow._storage`."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING, Any, cast

from torch import nn

if TYPE_CHECKING:
    from egflow.flow._flow import Flow


class Stored:
    """Saving and loading, the part of `Flow` that knows files. The hub is met only by `push_to_hub` and by
    `from_pretrained` of a repository's name.
    """

    def save(self, folder: str | PathLike[str]) -> None:
        """Save into a folder: weights.safetensors, model.json, the report, and the base in ``base/``.

        Raises:
            ValueError: if the folder exists and holds something else than a model.
            OSError: if it cannot be written; nothing is changed then.
        """
        from egflow.flow._storage import save_flow

        save_flow(cast("Flow", self), folder)

    @classmethod
    def load(cls, folder: str | PathLike[str], network: nn.Module | None = None) -> Flow:
        """Load a saved flow.

        Args:
            folder: as given to `save`.
            network: a module of the same shape, where the saved one was a user's own.

        Raises:
            FileNotFoundError: if the folder or a file of it is missing.
            ValueError: if a file is truncated, altered, of another version, or does not fit the network.
        """
        from egflow.flow._storage import load_flow

        return load_flow(folder, network)

    def save_pretrained(
        self, folder: str | PathLike[str], *, license: str | None = None, data: str | None = None
    ) -> None:
        """As `save`, with a model card in README.md, written from the report. Needs no network and no further package.

        Args:
            folder: what it held before, a card included, is replaced.
            license: of the model, as the hub spells it ("cc-by-4.0"); None: the card says that none is stated.
            data: a sentence on what the data are and where they come from, for the card; None: what the report knows.

        Raises:
            ValueError, OSError: as `save`.
        """
        from egflow.flow._card import model_card
        from egflow.flow._storage import save_flow

        flow = cast("Flow", self)
        save_flow(flow, folder, model_card(flow, license=license, data=data))

    def push_to_hub(self, repo_id: str, *, license: str | None = None, data: str | None = None, **options: Any) -> str:
        """Upload what `save_pretrained` writes to a repository of the Hugging Face hub, made if need be, in one commit.

        Args:
            repo_id: "owner/name".
            license, data: as in `save_pretrained`. A card that was edited at the hub is replaced too, unless
                ``ignore_patterns="README.md"``.
            options: of `huggingface_hub.ModelHubMixin.push_to_hub`: private, token, branch, create_pr,
                commit_message, …

        Returns:
            The address of the commit.

        Raises:
            ModuleNotFoundError: without huggingface_hub, naming the extra.
            OSError, ValueError: where the hub cannot be reached, or refuses.
        """
        from egflow.flow._hub import push

        return push(cast("Flow", self), repo_id, license=license, data=data, **options)

    @classmethod
    def from_pretrained(cls, name: str | PathLike[str], network: nn.Module | None = None, **options: Any) -> Flow:
        """Load a flow from a folder or, where there is no such folder, from a repository of the Hugging Face hub.

        A folder never touches the network. What comes from the hub is a stranger's: it is read by `load`, which
        imports and runs nothing of it.

        Args:
            name: a folder, or "owner/name" of the hub; a `Path` is always a folder.
            network: as in `load`.
            options: of `huggingface_hub.snapshot_download`: revision (a commit, so that what was looked at is what is
                loaded), token, cache_dir, local_files_only, …

        Raises:
            FileNotFoundError: if there is no such folder and no such repository, or a file of it is missing.
            ModuleNotFoundError: for a repository, without huggingface_hub, naming the extra.
            ValueError: as `load`.
            OSError: where the hub cannot be reached.
        """
        from egflow.flow._hub import folder_of

        return cls.load(folder_of(name, **options), network)
