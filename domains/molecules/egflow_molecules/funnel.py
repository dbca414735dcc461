"""The funnel of generated molecules: how many are valid, different, new, and what the user's filters let through."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass

from rdkit import Chem

from egflow_molecules.molecules import Molecules
from egflow_molecules.neighbours import KnownMolecules


@dataclass(frozen=True, slots=True)
class GenerationFunnel:
    """Counts at each stage, each stage a part of the one before.

    Attributes:
        made: SMILES generated.
        valid: those that RDKit reads as a molecule.
        unique: different canonical SMILES among the valid.
        novel: the unique that are not known; None where no known molecules were given.
        passed: what the filters let through of the novel (of the unique where novel is None); None without filters.
    """

    made: int
    valid: int
    unique: int
    novel: int | None
    passed: int | None

    def stages(self) -> list[tuple[str, int, float | None]]:
        """Name, count and share of the stage before (None of an empty one), of the stages there are."""
        found = [(name, count) for name, count in asdict(self).items() if count is not None]
        before = [self.made, *(count for _, count in found[:-1])]
        return [(name, n, n / of if of else None) for (name, n), of in zip(found, before, strict=True)]

    def as_dict(self) -> dict[str, int | float | None]:
        """Flat keys for ``domain_metrics``: each count, and ``<name>_share`` of the stage before it."""
        shares = {name: share for name, _, share in self.stages()}
        return asdict(self) | {f"{name}_share": shares.get(name) for name in ("valid", "unique", "novel", "passed")}

    def lines(self) -> list[str]:
        """For the terminal, a line a stage."""
        width = len(f"{self.made:,}")
        written, before = [], ""
        for name, count, share in self.stages():
            of = f"   {share:6.1%} of {before}" if before and share is not None else ""
            written.append(f"{name:<7}{count:>{width},}{of}")
            before = name
        return written


def generation_funnel(
    smiles: Sequence[str] | Molecules,
    known: Collection[str] | KnownMolecules = (),
    passes: Callable[[Chem.Mol], bool] | None = None,
) -> GenerationFunnel:
    """Count what was generated, stage by stage.

    Args:
        smiles: as generated.
        known: molecules that are not new, in any writing (parsed here, some 4,000 a second; a `KnownMolecules` is
            parsed already, and a frozenset holds canonical SMILES as they are). Two molecules are the same if their
            canonical SMILES are.
        passes: what a new molecule must satisfy.

    Raises:
        ValueError: if nothing was generated, or naming a known one that is no molecule.

    >>> made = ["CCO", "OCC", "c1ccccc1", "CN", "C("]
    >>> funnel = generation_funnel(made, known=["OCC"], passes=lambda mol: mol.GetNumAtoms() > 2)
    >>> print(*funnel.lines(), sep="\\n")
    made   5
    valid  4    80.0% of made
    unique 3    75.0% of valid
    novel  2    66.7% of unique
    passed 1    50.0% of novel
    """
    molecules = smiles if isinstance(smiles, Molecules) else Molecules(smiles)
    if not len(molecules):
        raise ValueError("smiles is empty: nothing was generated, so there is nothing to count")
    if not isinstance(known, KnownMolecules | frozenset) and len(known):
        known = KnownMolecules(known)
    canonical = known.canonical if isinstance(known, KnownMolecules) else known
    valid = [mol for mol in molecules if mol is not None]
    left = {Chem.MolToSmiles(mol): mol for mol in valid}
    unique, novel = len(left), None
    if len(canonical):
        left = {text: mol for text, mol in left.items() if text not in canonical}
        novel = len(left)
    passed = None if passes is None else sum(bool(passes(mol)) for mol in left.values())
    return GenerationFunnel(len(molecules), len(valid), unique, novel, passed)
