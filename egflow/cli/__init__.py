"""The command line: ``egflow train …`` and ``python -m egflow.train …`` do the same."""

from __future__ import annotations

import sys
from difflib import get_close_matches

from egflow.cli._door import enter

__all__ = ["enter", "main"]

COMMANDS = ("train", "sample", "evaluate", "report", "benchmark")


def main() -> None:
    """The console script ``egflow``."""
    command, arguments = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("--help", [])
    if command in COMMANDS:
        enter(command, arguments)
    if command in ("-h", "--help"):
        print("egflow COMMAND [key=value ...]\n\nCommands: " + ", ".join(COMMANDS))
        print("egflow COMMAND --help lists the keys, the domains and examples.")
        sys.exit(0)
    if command == "--version":
        enter("train", ["--version"])
    near = get_close_matches(command, COMMANDS, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    print(f"egflow: error: unknown command {command!r}.{hint} Commands: {', '.join(COMMANDS)}", file=sys.stderr)
    sys.exit(2)
