"""``egflow evaluate``: the report of a run again, on fresh samples, or against another energy."""

from __future__ import annotations

from dataclasses import replace

from egflow._account import ReportOptions, account
from egflow.cli._compose import Arguments, Settings
from egflow.cli._energy import choose_energy
from egflow.cli._loaded import check_out, load_run, out_folder
from egflow.cli._problem import prepare
from egflow.cli._write import show, with_domain, write_report


def evaluate(settings: Settings, arguments: Arguments) -> int:
    """Sample the run's flow, hold the samples against the weighted data, and write the account."""
    check_out(settings["out"])
    run = load_run(settings)
    typed = {"energy", "score"} & arguments.typed.keys()
    chosen = choose_energy(run.settings, run.domain, from_folder=not typed)
    tilting = prepare(run.settings, run.domain, chosen)
    solver = settings["solver"]
    trained = run.flow.report.seconds.get("train") if run.flow.report is not None else None
    run.flow.beta = tilting.beta
    report = account(
        run.flow,
        [chosen.energy],
        tilting.data.x,
        [tilting.values],
        condition=tilting.data.condition,
        sample_weight=tilting.data.sample_weight,
        per_condition=run.settings["per_condition"],
        options=ReportOptions(
            n=run.settings["n"],
            has_density=tilting.data.has_density,
            solver=solver["name"],
            rtol=solver["rtol"],
            atol=solver["atol"],
        ),
        facts={"domain": run.settings["domain"], "method": run.settings["method"], "seed": settings["seed"]},
        notes={},
    )
    report = with_domain(report, run.domain, tilting.data.info)
    report = replace(report, seconds={**report.seconds, "train": trained})
    folder = out_folder(settings["out"], run.path, "evaluations")
    write_report(report, run.domain, folder, None)
    show(report)
    print(f"\nWritten to {folder}: report.json, figures/")
    return 0
