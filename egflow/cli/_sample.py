"""``egflow sample``: more samples from the flow of a run."""

from __future__ import annotations

from typing import Any

from egflow._group import group
from egflow._sharing import solve_together
from egflow.cli._compose import Arguments, Settings
from egflow.cli._energy import choose_energy
from egflow.cli._folder import load_settings
from egflow.cli._loaded import load_run
from egflow.cli._out import check_file, deliver, out_file
from egflow.cli._own import is_own, sample_own
from egflow.cli._write import table_of
from egflow.flow import TokenFlow
from egflow.flow._checks import say_range
from egflow.flow._token_correction import corrects


def sample(settings: Settings, arguments: Arguments) -> int:
    """Draw and write. The energy is made only where a correction needs it."""
    out = out_file(settings["out"])
    if is_own(load_settings(settings["run"])):
        return sample_own(settings, out)
    run = load_run(settings)
    check_file(out, run.domain, run.flow.event_shape)
    beta = settings["beta"]
    if beta is None and run.flow.beta_range is not None:
        raise ValueError(f"beta= is needed: run={settings['run']} was trained over {say_range(run.flow.beta_range)}")
    run.flow.at(beta)  # outside of the range: before anything is made
    energy = chosen = None
    if settings["correct"]:
        typed = {"energy", "score"} & arguments.typed.keys()
        chosen = choose_energy(run.settings, run.domain, from_folder=not typed)
        energy = chosen.given
    elif settings["energy"] is not None or settings["score"] is not None:
        raise ValueError("energy= and score= are for correct=true: the flow was tilted already")
    solver = settings["solver"]
    at = run.flow if beta is None else run.flow.at(beta)
    if energy is not None:
        at.energy = energy
    own = getattr(run.domain, "deliver", None)
    made = None if own is None else group().first(lambda: own(at, settings["n"], settings["seed"]))
    how: dict[str, Any] = {"solver": solver["name"], "rtol": solver["rtol"], "atol": solver["atol"]}
    if made is not None:
        samples = made
    elif group().size > 1 and not settings["correct"]:
        if isinstance(at, TokenFlow) and settings["correct"] is None:
            corrects(at, settings["condition"], solver["name"], None, None)  # says why they are not
        samples = solve_together(at, settings["n"], settings["condition"], seed=settings["seed"], **how).y
    else:
        how |= {"correct": settings["correct"], "energy": energy, "seed": settings["seed"]}
        samples = group().first(lambda: run.flow.sample(settings["n"], settings["condition"], beta=beta, **how))
    if group().rank:
        return 0  # the first process writes
    columns = {}
    if hasattr(run.domain, "save_table"):
        if run.settings["data"] is not None:
            run.domain.data(run.settings["data"], run.settings["seed"])  # what the samples are compared with
        columns = table_of(at, chosen, samples.cpu())
    file = deliver(run.domain, samples.cpu(), columns, out, settings["out"], run.path)
    print(f"{settings['n']} samples written to {file}")
    return 0
