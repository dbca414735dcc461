"""Generated molecules, as a chemist holds them: SMILES with their RDKit molecules, and a picture in a notebook."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, overload

from rdkit import Chem

from egflow_molecules._grid import draw_grid, ranked
from egflow_molecules._rdkit import mol_from_smiles


class Molecules(Sequence[Chem.Mol | None]):
    """A sequence of generated molecules, what ``flow.decode(flow.sample(1000))`` gives; shown as a grid in a notebook.

    An item is an RDKit Mol, or None where the SMILES is no molecule; a slice is a `Molecules` again.

    Args:
        smiles: as generated.

    Attributes:
        smiles: as generated, the invalid among them.

    >>> made = Molecules(["CCO", "c1ccccc1", "C("])
    >>> made
    Molecules(['CCO', 'c1ccccc1', 'C('])
    >>> made.valid
    [True, True, False]
    >>> made[1].GetNumAtoms(), made[2], len(made[:2])
    (6, None, 2)
    """

    def __init__(self, smiles: Iterable[str]) -> None:
        if isinstance(smiles, str):
            raise TypeError(f"smiles is one text, {smiles!r}; give a list of SMILES")
        self.smiles = list(smiles)
        self._mols: list[Chem.Mol | None] | None = None

    @property
    def mols(self) -> list[Chem.Mol | None]:
        """RDKit's molecules, None where invalid; parsed when first asked for."""
        if self._mols is None:
            self._mols = [mol_from_smiles(one) for one in self.smiles]
        return self._mols

    @property
    def valid(self) -> list[bool]:
        """Whether each one is a molecule."""
        return [mol is not None for mol in self.mols]

    def __len__(self) -> int:
        return len(self.smiles)

    @overload
    def __getitem__(self, index: int) -> Chem.Mol | None: ...
    @overload
    def __getitem__(self, index: slice) -> Molecules: ...
    def __getitem__(self, index: int | slice) -> Chem.Mol | Molecules | None:
        if not isinstance(index, slice):
            return self.mols[index]
        part = Molecules(self.smiles[index])
        part._mols = None if self._mols is None else self._mols[index]
        return part

    def __iter__(self) -> Iterator[Chem.Mol | None]:
        return iter(self.mols)

    def __eq__(self, other: object) -> bool:
        return self.smiles == other.smiles if isinstance(other, Molecules) else NotImplemented

    def __repr__(self) -> str:
        shown = ", ".join(repr(one) for one in self.smiles[:5])
        return f"Molecules([{shown}])" if len(self) <= 5 else f"Molecules([{shown}, ...], {len(self):,} in all)"

    @overload
    def grid(self, n: int = ..., captions: Sequence[str] | None = ..., format: Literal["svg"] = ...) -> str: ...
    @overload
    def grid(self, n: int = ..., captions: Sequence[str] | None = ..., *, format: Literal["png"]) -> bytes: ...
    def grid(
        self, n: int = 20, captions: Sequence[str] | None = None, format: Literal["svg", "png"] = "svg"
    ) -> str | bytes:
        """A picture of the first n valid molecules.

        Args:
            n: at most 40.
            captions: one for each molecule of the sequence; None is its place in it, so that ``made[place]`` finds it.
            format: "svg" gives a text, "png" bytes.

        Raises:
            ValueError: if none is valid, or for captions of another number.
        """
        if captions is None:
            captions = [str(place) for place in range(len(self))]
        return draw_grid(self.mols, captions, ranked(self.mols, n=n), format)

    def _repr_html_(self) -> str:
        valid = sum(self.valid)
        head = f"<p>{len(self):,} generated, {valid:,} of them molecules"
        if not valid:
            return f"{head}.</p>"
        return f"{head}; the first {min(valid, 20)}:</p>{self.grid()}"
