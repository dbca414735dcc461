"""``egflow evaluate``: the report of a run again, on fresh samples, or against another energy."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from egflow._account import ReportOptions, account
from egflow._group import evaluate_together, group
from egflow._tilt_inputs import draw_from_base
from egflow.cli._compose import Arguments, Settings
from egflow.cli._energy import choose_energy
from egflow.cli._folder import load_settings
from egflow.cli._loaded import check_out, load_run, out_folder
from egflow.cli._own import evaluate_own, is_own
from egflow.cli._problem import against_data, prepare
from egflow.cli._quote import show as typed_as
from egflow.cli._write import show, with_domain, write_report
from egflow.training import mix


def evaluate(settings: Settings, arguments: Arguments) -> int:
    """Sample the run's flow, hold the samples against the weighted data, and write the account."""
    check_out(settings["out"])
    if is_own(load_settings(settings["run"])):
        return evaluate_own(settings)
    run = load_run(settings)
    flow, beta = run.flow, settings["beta"]
    if flow.beta_range is None and isinstance(beta, list):
        raise ValueError(f"beta={typed_as(beta)}: the run is of one beta, give one number")
    if flow.beta_range is not None and beta is not None and beta != "auto":
        flow.at(beta)  # outside of the range: before any energy is evaluated
    typed = {"energy", "score"} & arguments.typed.keys()
    chosen = choose_energy(run.settings, run.domain, from_folder=not typed)
    if flow.beta_range is not None and len(chosen.energies) != len(flow.beta_range):
        raise ValueError(f"{chosen.text}: the run has a range of beta for each of {len(flow.beta_range)} energies")
    tilting = prepare(run.settings | {"rounds": None, "at_one_beta": beta is not None}, run.domain, chosen)
    if flow.beta_range is None:
        assert isinstance(tilting.beta, float)
        flow.beta = tilting.beta
    elif beta is not None:
        flow = flow.at(tilting.given_beta)  # type: ignore[arg-type]  # one beta an energy, by at_one_beta
    stored = run.flow.report
    method = run.settings["method"] if stored is None else stored.method
    facts = {"domain": run.settings["domain"], "method": method, "seed": settings["seed"]}
    notes: dict[str, str] = {}
    if stored is not None and stored.rounds is not None:
        facts["rounds"] = stored.rounds
        notes = {key: stored.notes[key] for key in ("rounds", "base_error") if key in stored.notes}
        if tilting.data.draws is None:
            notes["reference"] = "the data: the draws that the run itself was reported against are not kept"
    solver, x, values = settings["solver"], tilting.data.x, tilting.values
    more: dict[str, Any] = {}
    if tilting.data.draws is not None:
        count = tilting.data.draws
        x = group().first(lambda: draw_from_base(run.flow.base, None, count, mix(settings["seed"], 8)))
        values = [evaluate_together(one, x) for one in chosen.energies]
        facts["reference"], more = "base", {"against_data": against_data(tilting)}
    report = account(
        flow,
        chosen.energies,
        x,
        values,
        condition=tilting.data.condition,
        sample_weight=tilting.data.sample_weight,
        per_condition=run.settings["per_condition"],
        options=ReportOptions(
            n=run.settings["n"],
            has_density=tilting.data.has_density,
            solver=solver["name"],
            rtol=solver["rtol"],
            atol=solver["atol"],
            facts=more,
        ),
        facts=facts,
        notes=notes,
    )
    if group().rank:
        return 0  # the first process writes
    report = with_domain(report, run.domain, tilting.data.info)
    report = replace(report, seconds={**report.seconds, "train": stored.seconds.get("train") if stored else None})
    folder = out_folder(settings["out"], run.path, "evaluations")
    write_report(report, partial(run.domain.figures, report), folder, None)
    show(report)
    print(f"\nWritten to {folder}: report.json, figures/")
    return 0
