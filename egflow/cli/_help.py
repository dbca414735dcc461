"""``--help``: what a command does, its keys with their defaults, the installed domains, examples."""

from __future__ import annotations

from egflow.cli._compose import Arguments, compose, config_folder
from egflow.domain import domains

_ABOUT = {
    "train": "Learn data p, tilt it to q ∝ p·exp(−beta·E), and report how close the samples come to q.",
    "sample": "Draw more samples from the flow of a run.",
    "evaluate": "Report on a run again, with fresh samples or against another energy.",
    "report": "Write one HTML file about a run, or several of them: verdict, figures, a slider of beta.",
    "benchmark": "Run one of the suites in benchmarks/ and write its table.",
}
_EXAMPLES = {
    "train": [
        "python -m egflow.train",
        "python -m egflow.train domain=toy data=rings beta=10",
        "python -m egflow.train data=swissroll energy='my.py:energy' beta=auto target_ess=0.2 run_dir=runs/mine",
        "python -m egflow.train data=swissroll beta=[0,8] run_dir=runs/every        (zsh: 'beta=[0,8]')",
        "python -m egflow.train data=rings energy='[rings,quadratic]' beta='[[0,4],[0,1]]'",
        "python -m egflow.train data=swissroll beta=20 rounds=auto toy.n_data=20000 log_p=swissroll",
        "python -m egflow.train run_dir=runs/mine resume=true",
        "python -m egflow.train --multirun beta=1,3,10 hydra/launcher=joblib",
    ],
    "sample": [
        "python -m egflow.sample run=runs/mine n=100000",
        "python -m egflow.sample run=runs/every beta=5.5",
        "python -m egflow.sample run=runs/mine correct=true out=more",
        "python -m egflow.sample run=runs/mine out=samples.parquet",
    ],
    "evaluate": [
        "python -m egflow.evaluate run=runs/mine",
        "python -m egflow.evaluate run=runs/every beta=5.5",
        "python -m egflow.evaluate run=runs/mine score='my.py:f'",
        "python -m egflow.evaluate run=runs/hopper offline_rl.episodes=50",
    ],
    "report": [
        "python -m egflow.report run=runs/every out=report.html",
        "python -m egflow.report run=runs/mine run=runs/every out=both.html",
    ],
    "benchmark": ["python -m egflow.benchmark suite=toys", "python -m egflow.benchmark suite=toys quick=true"],
}  # fmt: skip
_NOTES = {
    "train": [
        "Text with signs like ()[]{}=#@, or spaces needs one pair of shell quotes and nothing else.",
        "beta acts on the energy's own scale; a negative beta prefers high energy.",
        "beta=[low,high] trains one model for every beta in between; sample any of them by beta= afterwards.",
        "rounds=auto goes past the data; what p means there is log_p=, or else the base flow (the report says which).",
    ],
}


def help_text(command: str) -> str:
    """The help of one command, plain text of at most 120 columns."""
    lines = [f"python -m egflow.{command} [key=value ...]      (or: egflow {command} ...)", "", _ABOUT[command], ""]
    lines += [f"  {line}" for line in _NOTES.get(command, [])]
    if command == "train":
        lines += ["", "Domains:"]
        lines += [f"  domain={spec.name:<12} {spec.help}" for spec in sorted(domains().values(), key=lambda s: s.name)]
    lines += ["", "Keys and their defaults:", *_keys(command), "", "Examples:"]
    lines += [f"  {example}" for example in _EXAMPLES[command]]
    sweep = ", --multirun (one run for each combination of values)" if command == "train" else ""
    lines += ["", f"Flags: --help, --version, --cfg (print the settings and stop){sweep}"]
    return "\n".join(lines)


def _keys(command: str) -> list[str]:
    """The config file without Hydra's parts, and the domains' own options after it."""
    text = (config_folder() / f"{command}.yaml").read_text(encoding="utf-8")
    text = text.partition("\nhydra:")[0]
    lines = [line for line in text.splitlines() if line.strip()]
    if command != "train":
        return [f"  {line}" for line in lines if not line.startswith("#")]
    start = next(index for index, line in enumerate(lines) if line.startswith("domain:"))
    shown = [f"  {line}" for line in lines[start:]]
    for name in sorted(domains()):
        options = compose("train", Arguments({"domain": name})).get(name) or {}
        shown += [f"  {name}.{key}: {value}" for key, value in options.items()]
    return shown
