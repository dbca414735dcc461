"""The domain of molecules: what the command line asks of it."""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rdkit import Chem
from torch import Tensor, nn

from egflow._sample_files import write_samples_file
from egflow.domain import Data
from egflow.network import Recurrent
from egflow_molecules._figure import property_figure
from egflow_molecules._grid import save_grid
from egflow_molecules._rdkit import mol_from_smiles
from egflow_molecules.cleaning import clean
from egflow_molecules.decoders import DECODERS
from egflow_molecules.energies import PRESETS
from egflow_molecules.energies._alerts import Alerts, RuleOfFive
from egflow_molecules.files import nci, read
from egflow_molecules.funnel import generation_funnel
from egflow_molecules.molecules import Molecules
from egflow_molecules.neighbours import KnownMolecules
from egflow_molecules.pretrained import prior
from egflow_molecules.properties import property_columns
from egflow_molecules.real_sample import real_molecules
from egflow_molecules.scaffold import Scaffold, sample_scaffold
from egflow_molecules.smiles import LENGTH, NEST, PAD_ID, RINGS, VOCAB_SIZE, decode, encode
from egflow_molecules.writing import Columns, write_csv, write_sdf

if TYPE_CHECKING:
    from egflow.energy import EnergyModel
    from egflow.flow import TokenFlow
    from egflow.page import Block, Drawn
    from egflow.report import TiltReport

FILTERS: Mapping[str, Callable[[Chem.Mol], float]] = {
    "pains": Alerts("PAINS", forbid=True),
    "brenk": Alerts("BRENK", forbid=True),
    "lipinski": RuleOfFive(forbid=True),
}
"""Name -> 0 for a molecule that passes."""
_NEAR = 20_000  # known molecules among which the nearest is looked for
_SHOWN = 2_000  # draws of the base whose properties are drawn


@dataclass(frozen=True, slots=True)
class Written:
    """The molecules that a run wrote, best first."""

    molecules: Molecules
    scores: list[float]
    properties: dict[str, list[float]]
    similarity: list[float]


class MoleculesDomain:
    """Molecules as SMILES tokens: the prior or the user's own, RDKit's energies, tables, pictures and counts.

    Args:
        draws: of the base, to train a tilt on, and as many to report on.
        real: real molecules the report shows beside the base.
        start: "prior" or "scratch", for data of the user's own.
        column: of a csv.
        sdf: whether 3-D coordinates are written too.
        scaffold: what every molecule must contain, with attachment points; None for anything.
        workers: processes that clean the user's molecules.
        filters: of `FILTERS`; the funnel counts the new molecules that pass them all. None is taken out.

    Example:
        >>> MoleculesDomain(real=100).data(None, seed=0).x.shape
        torch.Size([100, 80])
    """

    energy_options: Mapping[str, Any] = {"on": "mol", "batch": False}

    def __init__(
        self,
        draws: int = 20_000,
        real: int = 2_000,
        start: str = "prior",
        column: str | int | None = None,
        sdf: bool = False,
        scaffold: str | None = None,
        workers: int = 0,
        filters: Sequence[str] = tuple(FILTERS),
    ) -> None:
        for name, value in (("draws", draws), ("real", real)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 100:
                raise ValueError(f"molecules.{name} must be a whole number of at least 100, got {value!r}")
        if start not in ("prior", "scratch"):
            raise ValueError(f"molecules.start must be prior or scratch, got {start!r}")
        if not isinstance(sdf, bool):
            raise ValueError(f"molecules.sdf must be true or false, got {sdf!r}")
        if isinstance(workers, bool) or not isinstance(workers, int) or workers < 0:
            raise ValueError(f"molecules.workers must be a whole number of at least 0, got {workers!r}")
        unknown = [name for name in filters if name not in FILTERS] if isinstance(filters, Sequence) else [filters]
        if unknown or isinstance(filters, str):
            raise ValueError(f"molecules.filters must be a list of {', '.join(FILTERS)}, got {filters!r}")
        self.filters = list(filters)
        self.draws, self.real, self.start, self.column, self.sdf = draws, real, start, column, sdf
        self.workers = workers
        self.scaffold = None if scaffold is None else Scaffold(scaffold)
        self.no_rounds = "" if scaffold is None else "a search does not keep a scaffold: leave molecules.scaffold= out"
        self.write_as = dict.fromkeys((".csv", ".sdf", ".parquet"), self._write_as)
        self.energies: Mapping[str, Callable[..., EnergyModel]] = PRESETS
        self.decoders: Mapping[str, Callable[[Tensor], Any]] = DECODERS
        self._known: Callable[[], Sequence[str]] = real_molecules
        self._written: Written | None = None

    def data(self, name: str | None, seed: int) -> Data:
        """The prior with real molecules beside it (None), RDKit's own 5,000 (nci), or the molecules of a file.

        Raises:
            FileNotFoundError, ValueError: for a file that cannot be read, or holds too few molecules.
        """
        common: dict[str, Any] = {"vocab_size": VOCAB_SIZE, "pad_id": PAD_ID, "draws": self.draws}
        if name is None:
            return Data(encode(real_molecules(self.real)), base=prior(), info={"data": "prior (MOSES)"}, **common)
        records = read(nci() if name == "nci" else name, self.column)
        cleaned = clean(records, what=f"data={name}", workers=self.workers, progress=_every(10_000))
        print(*cleaned.funnel.lines(), sep="\n")
        self._known = lambda: cleaned.smiles
        info = {"data": name, **{f"data_{key}": value for key, value in cleaned.funnel.as_dict().items()}}
        return Data(encode(cleaned.smiles), info=info, **common)

    def default_energy(self, name: str | None) -> str:
        """An octanol-water partition of 4, for every data set."""
        return "logp(target=4)"

    def network(self, data: Data) -> nn.Module | None:
        """The prior's network, to be tuned, or a fresh one of its kind."""
        if self.start == "prior":
            return copy.deepcopy(prior().network).train()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return Recurrent(VOCAB_SIZE + 2, VOCAB_SIZE + 1, LENGTH, 256, 2, nest=NEST, twice=RINGS)

    def deliver(self, flow: TokenFlow, n: int, seed: int) -> Tensor | None:
        """n samples that hold the scaffold, where one is asked for: of the same tilt, given that."""
        if self.scaffold is None:
            return None
        found = sample_scaffold(flow, self.scaffold, n, energy=flow.energy, seed=seed)
        print(
            f"molecules with the scaffold: {len(found.tokens):,} from {found.drawn:,} draws, n_eff {found.n_eff:,.0f}; "
            "the report is of the tilt without it"
        )
        return found.tokens.cpu()

    def save_samples(self, samples: Tensor, folder: Path) -> Path:
        """As `save_table`, of nothing but the molecules."""
        return self.save_table(samples, {}, folder)[0]

    def save_table(self, samples: Tensor, columns: Mapping[str, Tensor], folder: Path) -> list[Path]:
        """Write ``samples.csv``, best first where there is a score, and ``samples.sdf`` where that is asked for."""
        molecules, table = self._tabled(samples, columns)
        files = [write_csv(folder / "samples.csv", molecules.smiles, table)]
        return [*files, _write_sdf(folder / "samples.sdf", molecules, table)] if self.sdf else files

    def _tabled(self, samples: Tensor, columns: Mapping[str, Tensor]) -> tuple[Molecules, Columns]:
        """The molecules, best first where there is a score, and what is known of each."""
        numbers = {name: values.tolist() for name, values in columns.items()}
        score = _score(numbers, len(samples))
        order = sorted(range(len(samples)), key=lambda i: -math.inf if math.isnan(score[i]) else score[i], reverse=True)
        smiles = decode(samples)
        molecules = Molecules([smiles[i] for i in order])
        known = KnownMolecules(list(self._known())[:_NEAR])
        nearest = known.nearest(molecules.mols)
        found = property_columns(molecules.mols)
        table: dict[str, Sequence[float | str | None]] = {
            **{name: [values[i] for i in order] for name, values in numbers.items() if name != "log_likelihood"},
            **found,
            "nearest_known": [None if i < 0 else known.smiles[i] for i in nearest.place],
            "similarity": nearest.similarity.tolist(),
        }
        if "log_likelihood" in numbers:
            table["log_likelihood"] = [numbers["log_likelihood"][i] for i in order]
        self._written = Written(molecules, [score[i] for i in order], found, nearest.similarity.tolist())
        return molecules, table

    def _write_as(self, samples: Tensor, columns: Mapping[str, Tensor], file: Path) -> None:
        """One file, of the kind its ending says; see `write_as`."""
        molecules, table = self._tabled(samples, columns)
        if file.suffix == ".csv":
            write_csv(file, molecules.smiles, table)
        elif file.suffix == ".sdf":
            _write_sdf(file, molecules, table)
        else:
            write_samples_file(file, {"SMILES": molecules.smiles, **table})

    def figures(self, report: TiltReport, folder: Path) -> list[Path]:
        """Draw ``molecules.png`` and ``molecules.svg``, the best with captions, and ``properties.png``."""
        evidence, made = report.evidence, self._written
        if evidence is None:
            return []
        if made is None:
            molecules = Molecules(decode(evidence.samples))
            made = Written(molecules, [], property_columns(molecules.mols), [])
        files = []
        if any(made.molecules.valid):
            captions = [_caption(made, i) for i in range(len(made.molecules))]
            scores = made.scores if any(not math.isnan(score) for score in made.scores) else None
            files = [
                save_grid(folder / f"molecules.{suffix}", made.molecules.mols, captions, scores)
                for suffix in ("png", "svg")
            ]
        shown = evidence.data[:_SHOWN]
        prior_columns = property_columns(mol_from_smiles(one) for one in decode(shown))
        log_w = evidence.log_w[:_SHOWN]
        allowed = bool((log_w > -math.inf).any()) and any(made.molecules.valid)
        if allowed:  # else there is nothing to compare, as the report says itself
            weight = (log_w - log_w.max()).exp().tolist()
            files.append(property_figure(prior_columns, weight, made.properties, folder / "properties.png"))
        return files

    def page(self, report: TiltReport, folder: Path, drawn: Drawn | None) -> list[Block]:
        """The grid of the run's molecules for the HTML report, and of a range some at each stop of its slider."""
        from egflow_molecules._page import page

        return page(folder, drawn)

    def metrics(self, report: TiltReport) -> dict[str, Any]:
        """The funnel of what was written (of the report's samples where nothing was), and similarity to the known."""
        made, found = self._written, {}
        if report.evidence is not None:
            raw = Molecules(decode(report.evidence.samples))
            found["uncorrected_valid_share"] = round(sum(raw.valid) / len(raw), 4)
            made = made or Written(raw, [], {}, [])
        if made is None:
            return found
        known = frozenset(self._known())
        counts = generation_funnel(made.molecules, known, self._passes if self.filters else None)
        words = [f"novel: none of {len(known):,} known molecules"]
        words += [f"passed: no alert or broken rule of {', '.join(self.filters)}"] if self.filters else []
        print(*counts.lines(), f"({'; '.join(words)})", sep="\n")
        near = [value for value in made.similarity if not math.isnan(value)]
        if near:
            found["nearest_similarity_mean"] = round(sum(near) / len(near), 4)
        return {**counts.as_dict(), **found}

    def _passes(self, mol: Chem.Mol) -> bool:
        return all(FILTERS[name](mol) == 0.0 for name in self.filters)


def _write_sdf(file: Path, molecules: Molecules, table: Columns) -> Path:
    flat = write_sdf(file, molecules.mols, table)
    if flat:
        print(f"{flat} molecules found no conformer and are in {file.name} in two dimensions")
    return file


def _every(step: int) -> Callable[[int], None]:
    """A line to the terminal each ``step`` molecules."""
    said = 0

    def tell(done: int) -> None:
        nonlocal said
        if done // step > said:
            said = done // step
            print(f"egflow: {done:,} molecules read", file=sys.stderr)

    return tell


def _score(numbers: Mapping[str, list[float]], n: int) -> list[float]:
    """What the molecules are sorted by, high is good: the score, or minus the energy; of several their sum."""
    total = [math.nan] * n
    for name, values in numbers.items():
        sign = 1.0 if name.startswith("score") else -1.0 if name.startswith("energy") else 0.0
        if sign:
            total = [sign * v + (0.0 if math.isnan(t) else t) for v, t in zip(values, total, strict=True)]
    return [math.nan if math.isinf(t) else t for t in total]


def _caption(made: Written, place: int) -> str:
    score = f"score {made.scores[place]:.3g}\n" if made.scores and not math.isnan(made.scores[place]) else ""
    near = f"nearest known {made.similarity[place]:.2f}" if made.similarity else ""
    return f"{score}{near}" or f"{place + 1}"
