"""The tasks of the PMO benchmark that need RDKit alone: 20 of its 23 (drd2, gsk3b and jnk3 need trained classifiers).

The definitions are those of GuacaMol's code (`standard_benchmarks.py` of guacamol 0.5.5). TDC's oracles, which PMO is
made of (arXiv 2206.12411), equal it from PyTDC 0.3.7 on. Where they could be taken for something else:

- GuacaMol's code and not its paper (arXiv 1811.09621): fexofenadine's Gaussians, for one, have other widths there.
- PyTDC before 0.3.7 (September 2022) read the number of atoms off the SMILES as though it were a formula, in
  isomers_c7h8n2o2, isomers_c9h10n2o2pf2cl, sitagliptin_mpo and zaleplon_mpo, and 0.3.6's sitagliptin_mpo lacks its
  Gaussians. TDC keeps the old reading as ``…_prev``; it is not here. PMO's page recommends 0.3.6: tables made with it
  cannot be compared on these four.
- TDC gives an invalid molecule 0 and GuacaMol −1; here it is forbidden, as in every energy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from rdkit import Chem

from egflow.energy import EnergyModel
from egflow_molecules.energies import _likeness_tasks as likeness
from egflow_molecules.energies import _mpo_tasks as mpo
from egflow_molecules.energies._preset import PerMolecule, nearest, preset

Score = Callable[[Chem.Mol], float]

TASKS: Mapping[str, Score] = MappingProxyType(
    {
        task.__name__: task
        for task in (
            likeness.albuterol_similarity,
            mpo.amlodipine_mpo,
            likeness.celecoxib_rediscovery,
            likeness.deco_hop,
            mpo.fexofenadine_mpo,
            likeness.isomers_c7h8n2o2,
            likeness.isomers_c9h10n2o2pf2cl,
            likeness.median1,
            likeness.median2,
            likeness.mestranol_similarity,
            mpo.osimertinib_mpo,
            mpo.perindopril_mpo,
            likeness.qed,
            mpo.ranolazine_mpo,
            likeness.scaffold_hop,
            mpo.sitagliptin_mpo,
            likeness.thiothixene_rediscovery,
            likeness.troglitazone_rediscovery,
            mpo.valsartan_smarts,
            mpo.zaleplon_mpo,
        )
    }
)
"""Name -> the published score of one molecule, 0 … 1, high = good."""

CLASSIFIERS = ("drd2", "gsk3b", "jnk3")


def score(name: str) -> Score:
    """A PMO task's published score: a function of one molecule, 0 … 1, high = good.

    Raises:
        ValueError: for a name that is no task of `TASKS`.

    >>> score("celecoxib_rediscovery")(Chem.MolFromSmiles("Cc1ccc(cc1)-c1cc(nn1-c1ccc(cc1)S(N)(=O)=O)C(F)(F)F"))
    1.0
    """
    if name in CLASSIFIERS:
        raise ValueError(f"task {name!r} needs a trained classifier, which RDKit does not hold: it is not offered here")
    if name not in TASKS:
        known = f"it is one of {', '.join(TASKS)}"
        raise ValueError(f"unknown task {name!r}; {nearest(name, TASKS) or known}")
    return TASKS[name]


@dataclass(frozen=True)
class MinusScore:
    """E = −(a task's score)."""

    task: str

    def __call__(self, mol: Chem.Mol) -> float:
        return -float(TASKS[self.task](mol))


def Task(name: str) -> EnergyModel:
    """A PMO task as an energy: E = −(its published score), so −1 … 0.

    Args:
        name: one of `TASKS`.

    Raises:
        ValueError: for another name.
    """
    score(name)
    return task_preset(name)()


def task_preset(name: str) -> Callable[[], EnergyModel]:
    """The preset of one task, which takes no argument."""

    def make() -> PerMolecule:
        return MinusScore(name)

    make.__name__ = make.__qualname__ = name
    make.__doc__ = f"E = −(score of PMO's task {name}), −1 … 0. The score: {TASKS[name].__doc__}"
    return preset(name)(make)
