"""`fit`: a flow of the samples as they are."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import Tensor, nn

from egflow._fit_tokens import new_token_flow, token_problem
from egflow._inputs import N_MIN, check_condition, check_data, condition_kind, pick_device
from egflow._kinds import check_kind
from egflow._rows import Rows, chunks, mean_and_std
from egflow._token_inputs import check_tokens, check_vocabulary
from egflow._weighting import Weighted, Weighting
from egflow.coupling import make_coupling
from egflow.flow import Flow, TokenFlow
from egflow.network import default_network
from egflow.objective import METHODS, Objective
from egflow.path import Path, TokenPath, make_path
from egflow.report import held_out_split
from egflow.training import FlowMatching, Population, Problem, TrainingOptions, check_count, check_options, mix, train
from egflow.weights import Resample, check_sample_weight


def fit(
    x: Tensor,
    condition: Tensor | None = None,
    *,
    network: nn.Module | None = None,
    vocab_size: int | None = None,
    pad_id: int | None = None,
    path: str | Path | TokenPath | None = None,
    steps: int = 5_000,
    batch_size: int = 512,
    sample_weight: Tensor | None = None,
    device: str | torch.device | None = None,
    seed: int = 0,
    options: TrainingOptions | None = None,
) -> Flow:
    """Fit a flow to samples by flow matching (Lipman et al. 2023); what `tilt` starts from.

    A tenth of the data, a fixed function of N, is held out: the same tenth `tilt` and the report hold out.

    Args:
        x: (N, *event) float, finite, N ≥ 20; or tokens (N, length) long, with ``vocab_size``.
        condition: (N,) long labels or (N, k) floats; the flow is then of p(x | c).
        network: ``forward(x, t, condition)``; None is an MLP for vectors, a U-Net for square pictures, and for tokens
            recurrent (sequential) or a transformer. Trained in place of a copy: the given module is changed.
        vocab_size: tokens are 0 … vocab_size − 1; the flow is then a `TokenFlow`.
        pad_id: what fills shorter rows at their end, inside or outside the vocabulary; None: all rows are full.
        path: "cond_ot" (None), "vp" or "cosine"; of tokens "sequential" (None), "masked" or "uniform".
        steps, batch_size: optimiser steps and rows a step.
        sample_weight: (N,) weights of the samples, not negative.
        device: None is CUDA where there is one, else the CPU.
        seed: fixes everything on one device with one number of threads.
        options: the rest, see `TrainingOptions`.

    Returns:
        The flow.

    Raises:
        ValueError: for bad input, naming the argument.
        egflow.training.TrainingError: if the loss stops being finite.

    Example:
        >>> x = torch.randn(200, 2) * 0.1 + 3
        >>> flow = fit(x, steps=20, batch_size=64, options=TrainingOptions(progress="quiet"))
        >>> flow.sample(5).shape
        torch.Size([5, 2])
        >>> tokens = torch.randint(3, (200, 4))
        >>> flow = fit(tokens, vocab_size=3, steps=20, batch_size=64, options=TrainingOptions(progress="quiet"))
        >>> flow.log_prob(flow.sample(5)).shape
        torch.Size([5])
    """
    vocabulary = None if vocab_size is None else check_vocabulary(vocab_size, pad_id)
    if vocabulary is None and pad_id is not None:
        raise ValueError(f"pad_id={pad_id} is padding of tokens: give vocab_size= with it")
    x = check_data(x) if vocabulary is None else check_tokens(x, vocabulary, least=N_MIN)
    condition = check_condition(condition, len(x))
    check_count("steps", steps)
    check_count("batch_size", batch_size)
    options = check_options(options)
    if network is not None:
        check_kind("network", network, nn.Module, "an nn.Module, called as network(x, t, condition), or None")
    if options.stage == "train":
        options = replace(options, stage="base")
    weight = torch.ones(len(x), dtype=torch.float64)
    if sample_weight is not None:
        weight = check_sample_weight(sample_weight, len(x))
    place = pick_device(device)
    if vocabulary is None:
        flow = new_flow(x, condition, network=network, path=path, device=place, seed=seed)
    else:
        flow = new_token_flow(x, condition, vocabulary, network=network, path=path, device=place, seed=seed)
    objective = METHODS["ced" if flow.prediction == "noise" else "cefm"]
    log_s = weight.log()
    weighted = Weighted(Resample(), log_s, log_s)
    return train_flow(flow, x, condition, weighted, objective, steps, batch_size, seed, options)


def new_flow(
    x: Tensor,
    condition: Tensor | None,
    *,
    network: nn.Module | None,
    path: str | Path | TokenPath | None,
    device: torch.device,
    seed: int,
) -> Flow:
    """An untrained flow whose preprocessing is that of the part of x that is not held out."""
    chosen = make_path(path)
    if network is None:
        with torch.random.fork_rng():
            torch.manual_seed(mix(seed, -1))
            network = default_network(x.shape[1:], condition)
    train_index, _ = held_out_split(len(x))
    shift, scale = standardisation(Rows(x, train_index))
    flow = Flow(network.to(device), x.shape[1:], path=chosen, shift=shift.to(device), scale=scale.to(device))
    flow.condition_shape, flow.num_classes = condition_kind(condition)
    return flow


def standardisation(x: Rows) -> tuple[Tensor, Tensor]:
    """Shift and scale: per coordinate for vectors, per channel for events of more dimensions.

    Returns:
        Two tensors that broadcast to the event, mean and standard deviation; a constant coordinate has scale 1.
    """
    shift, scale = mean_and_std(chunks(x))
    scale = torch.where(scale > 1e-12 * shift.abs().clamp_min(1e-12), scale, 1.0)
    return shift.float(), scale.float()


def warm_start(base: Flow) -> Flow:
    """An untrained copy of a flow, to be trained on: network, path and preprocessing, nothing of its tilts."""
    flow = copy.copy(base)
    flow.network = copy.deepcopy(base.network)
    flow.base = flow.energy = flow.beta = flow.report = flow.tuned = flow.calls = None
    flow.history, flow.notes, flow.train_seconds = [], {}, 0.0
    return flow


def train_flow(
    flow: Flow,
    x: Tensor,
    condition: Tensor | None,
    weighting: Weighting,
    objective: Objective,
    steps: int,
    batch_size: int,
    seed: int,
    options: TrainingOptions,
    train_index: Tensor | None = None,
) -> Flow:
    """Train the flow on weighted data, watching the held-out part; returns it with the averaged network.

    Args:
        train_index: rows to train on; None is all that `held_out_split` does not hold out.
    """

    def population(index: Tensor, watch: bool) -> Population | None:
        batches = weighting.batches(index, flow.device, watch=watch)
        if batches is None:
            return None
        z = _prepared(flow, x, index)
        c = None if condition is None else condition[index].to(flow.device)
        return Population(z, c if c is None or not c.is_floating_point() else c.to(flow.shift), batches)

    kept, held_index = held_out_split(len(x)) if train_index is None else _split(train_index, len(x))
    train_part = population(kept, False)
    if train_part is None:
        raise ValueError("every sample of positive weight is held out: more data, or a lower beta, is needed")
    held_out = population(held_index, True) if len(held_index) else None
    if isinstance(flow, TokenFlow):
        problem: Problem = token_problem(flow, train_part, held_out, weighting.beta_range, options)
    else:
        differ = "condition" if condition is not None else "beta" if weighting.beta_range else ""
        weights = "resample" if weighting.equal else "unequal"
        problem = FlowMatching(
            path=flow.path,
            objective=objective,
            coupling=make_coupling(options.coupling, weights=weights, differ=differ),
            prediction=flow.prediction,
            train=train_part,
            held_out=held_out,
            beta_range=weighting.beta_range,
        )
    trained = train(flow.network, problem, steps=steps, batch_size=batch_size, seed=seed, options=options)
    flow.network, flow.history, flow.notes = trained.network, trained.history, trained.notes
    flow.train_seconds = trained.seconds
    return flow


def _prepared(flow: Flow, x: Tensor, index: Tensor) -> Tensor | Rows:
    """Rows of x as the network sees them: gathered batch by batch, but for a GPU where they fit there."""

    def prepare(rows: Tensor) -> Tensor:
        if isinstance(flow, TokenFlow):
            return flow.vocabulary.encode(rows)
        return ((rows - flow.shift) / flow.scale).to(flow.shift)

    if flow.device.type == "cuda" and x.nbytes < 0.25 * torch.cuda.mem_get_info(flow.device)[0]:
        return prepare(x[index].to(flow.device))
    return Rows(x, index, prepare, flow.device)


def _split(train_index: Tensor, n: int) -> tuple[Tensor, Tensor]:
    rest = torch.ones(n, dtype=torch.bool)
    rest[train_index] = False
    return train_index, rest.nonzero().squeeze(1)
