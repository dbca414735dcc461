"""The loop: draws, resume bit by bit, interrupts, what is refused."""

import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import egflow
from egflow.coupling import independent
from egflow.network import MLP
from egflow.objective import cefm
from egflow.path import CondOT
from egflow.training import FlowMatching, Population, StepDraws, TrainingError, TrainingOptions, mix, train
from egflow.weights import Resample

QUIET = TrainingOptions(progress="quiet", checkpoint_every=10, log_every=7)


def problem(n: int = 300) -> FlowMatching:
    x = torch.randn(n, 2, generator=torch.Generator().manual_seed(0)) * 0.3 + 1
    log_w = torch.zeros(n, dtype=torch.float64)
    population = Population(x, None, Resample().prepare(log_w, log_w))
    return FlowMatching(CondOT(), cefm, independent, "velocity", population, population)


def network(dropout: float = 0.0) -> nn.Module:
    torch.manual_seed(5)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.drop = MLP((2,), width=8, depth=1), nn.Dropout(dropout)

        def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
            return self.body(self.drop(x), t)

    return Net()


def weights_of(module: nn.Module) -> Tensor:
    return torch.cat([value.flatten() for value in module.state_dict().values()])


def test_draws_are_a_function_of_seed_and_step() -> None:
    first = StepDraws.at(3, 11, 7, torch.Generator())
    again = StepDraws.at(3, 11, 7, torch.Generator().manual_seed(99))
    other = StepDraws.at(3, 12, 7, torch.Generator())
    assert all(torch.equal(getattr(first, name), getattr(again, name)) for name in ("u", "t"))
    x_0 = first.normal((2,))
    assert torch.equal(x_0, again.normal((2,))) and not torch.equal(x_0, other.normal((2,)))


def test_draws_are_stratified_and_antithetic() -> None:
    draws = StepDraws.at(0, 0, 8, torch.Generator())
    assert (draws.u * 8).long().tolist() == list(range(8))
    assert sorted((draws.t * 8).long().tolist()) == list(range(8))
    x_0 = draws.normal((3,))
    assert torch.equal(x_0[4:], -x_0[:4])


def test_draws_have_the_right_means() -> None:
    generator = torch.Generator()
    x_0, t = [], []
    for step in range(2_000):
        draws = StepDraws.at(1, step, 16, generator)
        x_0.append(draws.normal((1,))[:8])
        t.append(draws.t[0])
    x_0, t = torch.stack(x_0).flatten(), torch.stack(t)
    assert float(x_0.var()) == pytest.approx(1, abs=4 * (2 / len(x_0)) ** 0.5)
    assert float(t.mean()) == pytest.approx(0.5, abs=4 / (12 * len(t)) ** 0.5)


def test_mix_spreads() -> None:
    assert len({mix(a, b) for a in range(50) for b in range(-50, 50)}) == 5_000


@pytest.mark.parametrize("stop_at", [4, 10, 23])
def test_resume_is_bit_identical(tmp_path: Path, stop_at: int, sigint: None) -> None:
    """An interrupt lands at the end of its step; what follows the resume is what would have followed."""

    def run(folder: Path, stop: int | None, resume: bool) -> Tensor:
        calls = 0
        net = network(dropout=0.2)

        def count(*_: object) -> None:
            nonlocal calls
            calls += 1
            if calls == stop:
                signal.raise_signal(signal.SIGINT)

        net.register_forward_hook(count)
        options = replace(QUIET, folder=folder, resume=resume)
        return weights_of(train(net, problem(), steps=30, batch_size=16, seed=2, options=options).network)

    whole = run(tmp_path / "whole", None, False)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", stop_at, False)
    assert torch.equal(run(tmp_path / "cut", None, True), whole)

    def rows(folder: Path) -> list[str]:
        return [line.rpartition(",")[0] for line in (folder / "metrics.csv").read_text().splitlines()]

    assert rows(tmp_path / "cut") == rows(tmp_path / "whole")
    assert len(rows(tmp_path / "whole")) == 1 + 5


def test_resume_of_a_finished_training_changes_nothing(tmp_path: Path) -> None:
    options = replace(QUIET, folder=tmp_path)
    first = train(network(), problem(), steps=12, batch_size=16, seed=0, options=options)
    again = train(network(), problem(), steps=12, batch_size=16, seed=0, options=replace(options, resume=True))
    assert torch.equal(weights_of(first.network), weights_of(again.network))
    assert again.history == first.history


def test_a_damaged_checkpoint_falls_back(tmp_path: Path) -> None:
    options = replace(QUIET, folder=tmp_path)
    first = train(network(), problem(), steps=25, batch_size=16, seed=0, options=options)
    newest = sorted((tmp_path / "checkpoints" / "train").glob("*.safetensors"))
    assert [file.name for file in newest] == ["step-00000020.safetensors", "step-00000025.safetensors"]
    newest[-1].write_bytes(newest[-1].read_bytes()[:-100])
    with pytest.warns(UserWarning, match="damaged"):
        again = train(network(), problem(), steps=25, batch_size=16, seed=0, options=replace(options, resume=True))
    assert torch.equal(weights_of(first.network), weights_of(again.network))


def test_resume_of_another_training_is_refused(tmp_path: Path) -> None:
    options = replace(QUIET, folder=tmp_path)
    train(network(), problem(), steps=12, batch_size=16, seed=0, options=options)
    with pytest.raises(ValueError, match="another seed"):
        train(network(), problem(), steps=12, batch_size=16, seed=1, options=replace(options, resume=True))


def test_a_folder_of_another_training_is_refused(tmp_path: Path) -> None:
    """Its checkpoints of later steps would be taken for the newest, and the new ones be deleted as old."""
    options = replace(QUIET, folder=tmp_path)
    train(network(), problem(), steps=12, batch_size=16, seed=0, options=options)
    with pytest.raises(ValueError, match="pass resume=True, or another folder"):
        train(network(), problem(), steps=5, batch_size=16, seed=1, options=options)
    train(network(), problem(), steps=5, batch_size=16, seed=1, options=replace(options, stage="tilt"))


def test_buffers_of_the_network_reach_the_result() -> None:
    net = nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 2))

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = net

        def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
            return self.body(x)

    made = train(Net(), problem(), steps=20, batch_size=16, seed=0, options=QUIET).network
    assert int(made.state_dict()["body.0.num_batches_tracked"]) == 20
    assert torch.equal(made.state_dict()["body.0.running_mean"], net.state_dict()["0.running_mean"])


def test_accumulation_is_the_same_training() -> None:
    runs = [
        train(
            network().double(), double(problem()), steps=20, batch_size=24, seed=0, options=replace(QUIET, accumulate=k)
        )
        for k in (1, 5)
    ]
    torch.testing.assert_close(weights_of(runs[0].network), weights_of(runs[1].network), rtol=1e-5, atol=1e-6)


def double(given: FlowMatching) -> FlowMatching:
    population = replace(given.train, x=given.train.x.double())
    return replace(given, train=population, held_out=population)


def test_a_loss_that_is_not_finite_stops(tmp_path: Path) -> None:
    net, calls = network(), 0

    def poison(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return output * float("nan") if calls == 15 else output

    net.register_forward_hook(poison)
    with pytest.raises(TrainingError, match=r"step 14 .*step-00000010"):
        train(net, problem(), steps=30, batch_size=16, seed=0, options=replace(QUIET, folder=tmp_path))
    assert bool(torch.isfinite(weights_of(net)).all())


def test_learning_by_heart_is_said() -> None:
    generator = torch.Generator().manual_seed(3)
    few, fresh = torch.randn(8, 2, generator=generator), torch.randn(500, 2, generator=generator)

    def part(x: Tensor) -> Population:
        flat = torch.zeros(len(x), dtype=torch.float64)
        return Population(x, None, Resample().prepare(flat, flat))

    memorising = replace(problem(), train=part(few), held_out=part(fresh))
    torch.manual_seed(0)
    options = replace(QUIET, learning_rate=5e-3)
    trained = train(MLP((2,), 64, 2), memorising, steps=1_500, batch_size=64, seed=0, options=options)
    assert "by heart" in trained.notes["held_out_loss"]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"clip": float("nan")}, "clip"),
        ({"ema": 1.0}, "ema"),
        ({"checkpoint_every": 0}, "checkpoint_every"),
        ({"progress": "loud"}, "progress"),
        ({"tensorboard": True}, "tensorboard"),
    ],
)
def test_bad_options(change: dict[str, object], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        TrainingOptions(**change)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["steps", "batch_size"])
@pytest.mark.parametrize("value", [0, -3, 2.5, True])
def test_bad_counts(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{name} must be a whole number"):
        egflow.fit(torch.randn(30, 2), **{name: value})  # type: ignore[arg-type]


def test_tensorboard_writes_events(tmp_path: Path) -> None:
    options = replace(QUIET, folder=tmp_path, tensorboard=True)
    train(network(), problem(), steps=10, batch_size=8, seed=0, options=options)
    assert any((tmp_path / "tensorboard").iterdir())


def _same_as_plain(tolerance: float) -> None:
    x, found = torch.randn(300, 2, generator=torch.Generator().manual_seed(0)), []
    for compiled in (False, True):
        torch.manual_seed(0)
        options = TrainingOptions(progress="quiet", compile=compiled)
        network = egflow.fit(x, network=MLP((2,), width=16, depth=1), steps=5, batch_size=32, options=options).network
        assert isinstance(network, MLP)  # what is kept is the network itself
        found.append(torch.cat([one.detach().flatten() for one in network.parameters()]))
    torch.testing.assert_close(found[0], found[1], rtol=tolerance, atol=tolerance)


def test_a_compiled_network_is_trained_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def traced(network: torch.nn.Module) -> object:
        asked.append(network)
        return compiled(network, backend="eager")  # the passes are traced, and run as they are: no compiler is needed

    compiled = torch.compile
    monkeypatch.setattr(torch, "compile", traced)
    _same_as_plain(0.0)
    assert len(asked) == 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # torch's own, where its compiler is imported
def test_a_network_compiled_for_the_processor_is_trained_alike() -> None:
    _same_as_plain(1e-6)
