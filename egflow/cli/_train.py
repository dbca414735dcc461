"""``egflow train``: data, energies, base, tilt, samples, report; in a folder of its own."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from egflow._account import ReportOptions
from egflow._fit import fit
from egflow._group import group, join_group
from egflow._inputs import pick_device
from egflow._tilt import tilt
from egflow.cli._compose import Arguments, Settings
from egflow.cli._energy import choose_energy
from egflow.cli._folder import RunFolder, claim, save_settings
from egflow.cli._log_p import LogP, choose_log_p
from egflow.cli._outcome import RunFailed, one_line, say
from egflow.cli._own import is_own, prepare_own
from egflow.cli._problem import Tilting, against_data, prepare
from egflow.cli._settings import domain_options
from egflow.cli._write import show, table_of, tell_written, with_domain, write_calls, write_report, write_samples
from egflow.domain import Domain, find_domain
from egflow.flow import Flow, TokenFlow
from egflow.flow._token_correction import corrects
from egflow.report import TiltReport, beta_words
from egflow.solver import make_solver
from egflow.training import TrainingOptions


def train(settings: Settings, arguments: Arguments) -> int:
    """One run. Whatever is wrong with the input ends it before its folder holds anything."""
    make_solver(settings["solver"]["name"])
    device = join_group(pick_device(settings["device"]))
    together = group()
    if together.size > 1 and settings["rounds"] is not None:
        raise ValueError(f"rounds={settings['rounds']} runs in one process: start it without torchrun")
    domain = find_domain(settings["domain"]).load(domain_options(settings))
    prepare_run = prepare_own if is_own(settings) else _prepare
    folder = together.first(lambda: claim(settings["run_dir"], settings["domain"], resume=settings["resume"]))
    folder = replace(folder, ours=together.rank == 0)
    if folder.resumed and (folder.path / "report.json").is_file():
        show(TiltReport.load(folder.path))
        print(f"\nThe run in {folder.path} is finished.")
        return 0
    try:
        run = prepare_run(settings, arguments, domain, device, folder)
        if not folder.resumed and folder.ours:
            save_settings(folder.path, settings)
    except BaseException:
        folder.abandon()
        raise
    try:
        run()
    except KeyboardInterrupt:
        _keep_or_abandon(folder, "")
        raise
    except (ValueError, TypeError) as error:
        if _keep_or_abandon(folder, "not finished; "):
            raise RunFailed(one_line(error)) from error
        raise
    except (RuntimeError, OSError, SafetensorError) as error:
        _keep_or_abandon(folder, "not finished; ")
        raise RunFailed(one_line(error)) from error
    except Exception:  # a missing extra, or a mistake of ours
        _keep_or_abandon(folder, "not finished; ")
        raise
    return 0


def _prepare(
    settings: Settings, arguments: Arguments, domain: Domain, device: torch.device, folder: RunFolder
) -> Callable[[], None]:
    """A tilt, ready to be run: its data, energies and base are there and checked."""
    stored = folder.resumed
    typed_now = not stored or bool({"energy", "score"} & arguments.typed.keys())
    log_p = choose_log_p(settings, domain, from_folder=stored and "log_p" not in arguments.typed)
    tilting = prepare(settings, domain, choose_energy(settings, domain, from_folder=not typed_now), log_p)
    base = None if settings["base"] is None else load_base(settings["base"], device)
    if base is not None and not _fits(base, tilting):
        raise ValueError(f"base={settings['base']} is no flow of this domain's data ({base!r}): give another")
    return partial(_run, settings, tilting, log_p, base, device, folder)


def _fits(base: Flow, tilting: Tilting) -> bool:
    """Whether a base speaks of what the data are: events of their shape, or tokens of their alphabet."""
    data = tilting.data
    if data.vocab_size is None:
        return base.event_shape == tuple(data.x.shape[1:])
    tokens = isinstance(base, TokenFlow) and (base.vocab_size, base.pad_id) == (data.vocab_size, data.pad_id)
    return tokens and base.event_shape == tuple(data.x.shape[1:])


def _keep_or_abandon(folder: RunFolder, word: str) -> bool:
    """Keep a folder that can be gone on with, and say how; take back any other."""
    if not folder.has_checkpoint:
        folder.abandon()
        return folder.resumed
    go_on = shlex.join(["python", "-m", "egflow.train", f"run_dir={folder.path}", "resume=true"])
    say(f"{word}saved in {folder.path}; go on with it:  {go_on}")
    return True


def _run(
    settings: Settings,
    tilting: Tilting,
    log_p: LogP | None,
    base: Flow | None,
    device: torch.device,
    folder: RunFolder,
) -> None:
    trainer, solver, data = dict(settings["trainer"]), settings["solver"], tilting.data
    steps, base_steps = trainer.pop("steps"), trainer.pop("base_steps", None)
    common: dict[str, Any] = {
        "batch_size": trainer.pop("batch_size"),
        "device": device,
        "seed": settings["seed"],
    }
    options = {**trainer, "folder": folder.path, "resume": settings["resume"]}
    if base is None:
        base = data.base
    if base is None:
        base = fit(
            data.x,
            data.condition,
            network=tilting.domain.network(data),
            vocab_size=data.vocab_size,
            pad_id=data.pad_id,
            path="vp" if settings["method"] == "ced" else None,
            sample_weight=data.sample_weight,
            options=TrainingOptions(**options, stage="base"),
            steps=base_steps or steps,
            **common,
        )
    base.domain = settings["domain"]
    own: dict[str, Any] = {"data": data.x, "energies": tilting.values}
    facts: dict[str, Any] = {"domain": settings["domain"]}
    if data.draws is not None:
        if settings.get("rounds") is None:
            say("drawing samples of the base, which is p, and evaluating their energies")
        own, facts = {"draws": data.draws}, facts | {"against_data": against_data(tilting)}
    flow = tilt(
        base,
        tilting.chosen.given,
        "auto" if settings["beta"] == "auto" and data.draws is not None else tilting.given_beta,
        condition=data.condition,
        sample_weight=data.sample_weight,
        method=None if settings["method"] == "auto" else settings["method"],
        weights=settings["weights"],
        per_condition=settings["per_condition"],
        rounds=settings.get("rounds"),
        # beta=auto is solved already, but for draws of the base
        target_ess=settings["target_ess"] if settings.get("rounds") is not None or data.draws is not None else None,
        log_p=log_p,
        max_calls=_calls_left(settings, tilting),
        options=TrainingOptions(**options, stage="tilt"),
        steps=steps,
        cache=settings["cache"] if data.draws is not None else None,
        reporting=ReportOptions(
            n=settings["n"],
            has_density=data.has_density,
            solver=solver["name"],
            rtol=solver["rtol"],
            atol=solver["atol"],
            facts=facts,
        ),
        **own,
        **common,
    )
    if not folder.ours:
        return
    assert flow.report is not None and flow.report.evidence is not None
    flow.save(folder.path / "model")  # before the user's score is asked about what it has not seen
    evidence = flow.report.evidence
    if flow.calls is not None:
        for file in write_calls(tilting.domain, flow, tilting.chosen, folder.path):
            say(f"what the search found is in {file}")
    counted = settings.get("max_calls") is not None or flow.calls is not None
    made = evidence.samples if counted else delivered(flow, tilting.domain, settings["n"], settings["seed"])
    known = evidence.sample_energies if counted else None
    samples = write_samples(tilting.domain, made, folder.path, table_of(flow, tilting.chosen, made, known))
    report = flow.report = with_domain(flow.report, tilting.domain, data.info)
    report.save(folder.path / "model")
    own_figures = getattr(tilting.domain, "flow_figures", None)

    def draw(place: Path) -> list[Path]:
        of_flow = [] if own_figures is None else own_figures(flow, place, settings["seed"])
        return [*tilting.domain.figures(report, place), *of_flow]

    written = write_report(report, draw, folder.path, [*base.history, *flow.history])
    show(report)
    tell_written(folder.path, f"{samples.relative_to(folder.path)}{at_upper_end(report)}", written)


def _calls_left(settings: Settings, tilting: Tilting) -> int | None:
    """``max_calls``, less what the data beside the base were asked for."""
    calls = settings.get("max_calls")
    return calls if calls is None or tilting.data.draws is None else calls - len(tilting.values[0])


def delivered(flow: Flow, domain: Domain, n: int, seed: int) -> Tensor:
    """The samples that a run writes: of tokens the corrected ones where that can be, else those of its report."""
    assert flow.report is not None and flow.report.evidence is not None
    at = flow.at([high for _, high in flow.beta_range]) if flow.beta_range else flow
    own = getattr(domain, "deliver", None)
    if own is not None and (made := own(at, n, seed)) is not None:
        return made
    if isinstance(at, TokenFlow) and at.path.likelihood == "exact" and at.condition_shape is None:
        if not corrects(at, None, None, None, None):
            return flow.report.evidence.samples
        made = at.sample(n, seed=seed).cpu()
        distinct = len(made.unique(dim=0))
        say(f"samples are corrected by base·exp(−beta·E)/q: {distinct:,} of {n:,} are different sequences")
        return made
    return flow.report.evidence.samples


def at_upper_end(report: TiltReport) -> str:
    """Which beta of a range the samples are of, as words to put behind their name."""
    return f" (at beta {beta_words(report.per_beta[-1]['beta'])})" if report.per_beta else ""


def load_base(text: str, device: torch.device) -> Flow:
    """The flow that ``base=`` names: a saved model, or the base of a run's model.

    Raises:
        FileNotFoundError, ValueError: if there is none, or it is damaged.
    """
    folder = Path(text)
    model = folder / "model" if (folder / "model" / "model.json").is_file() else folder
    if not (model / "model.json").is_file():
        raise FileNotFoundError(f"base={text} holds no saved flow: name a run's folder, or one made by Flow.save")
    flow = Flow.load(model)
    if model != folder and flow.base is not None:
        flow = flow.base
    return flow.to(device)
