"""Where a training reports: rows of metrics.csv, TensorBoard by option, and a line of progress."""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from egflow._files import write_atomic
from egflow.training._options import TrainingOptions

COLUMNS: tuple[str, ...] = ("stage", "step", "loss", "held_out_loss", "learning_rate", "details", "seconds")
_PLAIN_EVERY = 10.0  # seconds between plain lines


class Metrics:
    """Rows of one training, on disk as they come. A resumed stage drops the rows past its checkpoint."""

    def __init__(self, options: TrainingOptions) -> None:
        self.rows: list[dict[str, str | float]] = []
        self._options = options
        self._file = None if options.folder is None else options.folder / "metrics.csv"
        self._board = None
        if options.tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError as error:
                raise ModuleNotFoundError(
                    "tensorboard=True needs TensorBoard: install it with  pip install 'egflow[tensorboard]'"
                ) from error
            assert options.folder is not None
            self._board = SummaryWriter(str(options.folder / "tensorboard"))

    def start(self, rows: list[dict[str, str | float]]) -> None:
        """Begin with this stage's rows so far; the file keeps the other stages' rows and drops later ones of this."""
        self.rows = list(rows)
        if self._file is None:
            return
        others = []
        if self._file.exists():
            with open(self._file, newline="", encoding="utf-8") as stream:
                others = [row for row in csv.DictReader(stream) if row["stage"] != self._options.stage]

        def write(temporary: Path) -> None:
            with open(temporary, "w", newline="", encoding="utf-8") as stream:
                writer = csv.DictWriter(stream, COLUMNS)
                writer.writeheader()
                writer.writerows(others)
                writer.writerows(self.rows)

        write_atomic(self._file, write)

    def add(self, row: Mapping[str, str | float]) -> None:
        """Append one row."""
        self.rows.append(dict(row))
        if self._file is not None:
            with open(self._file, "a", newline="", encoding="utf-8") as stream:
                csv.DictWriter(stream, COLUMNS).writerow(row)
        if self._board is not None:
            for name in ("loss", "held_out_loss", "learning_rate"):
                if row.get(name, "") != "":
                    self._board.add_scalar(f"{row['stage']}/{name}", float(row[name]), int(row["step"]))

    def close(self) -> None:
        """Flush TensorBoard."""
        if self._board is not None:
            self._board.close()


class ProgressLine:
    """A bar on a terminal, a plain line every ten seconds elsewhere, nothing if quiet. Writes to stderr."""

    def __init__(self, options: TrainingOptions, total: int) -> None:
        self._stage, self._total, self._last = options.stage, total, time.monotonic()
        self._plain = options.progress == "plain" or (options.progress == "auto" and not sys.stderr.isatty())
        self._bar = None
        if options.progress == "auto" and not self._plain:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, TextColumn("loss {task.fields[loss]:.4f}"), console=Console(stderr=True))
            self._task = self._bar.add_task(options.stage, total=total, loss=float("nan"))

    def __enter__(self) -> ProgressLine:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, step: int, loss: float) -> None:
        """Say where the training is."""
        if self._bar is not None:
            self._bar.update(self._task, completed=step, loss=loss)
        elif self._plain and (time.monotonic() - self._last > _PLAIN_EVERY or step == self._total):
            self._last = time.monotonic()
            print(f"{self._stage}: step {step}/{self._total}, loss {loss:.4f}", file=sys.stderr, flush=True)
