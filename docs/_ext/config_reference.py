"""``{settings} NAME``: the keys of a command or of a domain as a table, read from its config file at every build.

The texts are the comments in the file, which ``--help`` prints too; the notes and examples are those of ``--help``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from egflow.cli._compose import config_folder
from egflow.cli._help import help_text
from egflow.domain import domains

_KEY = re.compile(r"( *)(\w+):(?: +(.*?))??(?: +# *(.*))?$")
_PAIR = re.compile(r"(\w+): ([^,}]+)")
_MORE = re.compile(r" +# *(.*)$")


@dataclass(slots=True)
class Setting:
    """One key, dotted, with its default as the file has it and its comment."""

    key: str
    default: str
    help: str


def config_file(name: str) -> Path:
    """The file of a command or of an installed domain. Raises ValueError for another name."""
    command = config_folder() / f"{name}.yaml"
    if command.is_file():
        return command
    if name not in domains():
        raise ValueError(f"{name!r} is neither a command nor an installed domain ({', '.join(sorted(domains()))})")
    return Path(str(files(f"{domains()[name].package}.conf"))) / "domain" / f"{name}.yaml"


def read_settings(text: str) -> tuple[str, list[Setting]]:
    """What a config file says of itself, and its keys, without Hydra's own."""
    text = text.partition("\nhydra:")[0]
    about: list[str] = []
    found: list[Setting] = []
    parents: list[tuple[int, str]] = []
    for line in text.splitlines():
        if line.startswith("# ") and not found and not parents:
            about.append(line[2:])
        elif (more := _MORE.match(line)) and found:
            found[-1].help = f"{found[-1].help} {more[1]}".strip()
        elif key := _KEY.match(line):
            indent = len(key[1])
            parents = [parent for parent in parents if parent[0] < indent]
            name = ".".join([*(parent for _, parent in parents), key[2]])
            if key[3] is None:  # a group: its keys follow
                parents.append((indent, key[2]))
                if key[4]:
                    found.append(Setting(name, "", key[4]))
            elif key[3].startswith("{"):  # a group in one line
                found += [Setting(f"{name}.{inner}", part, "") for inner, part in _PAIR.findall(key[3])]
            else:
                found.append(Setting(name, key[3], key[4] or ""))
    return " ".join(line for line in about if not line.startswith("@")), [s for s in found if s.key != "defaults"]


def plain(text: str) -> str:
    """Text as Markdown that means just that.

    >>> print(plain("a <b> of x_1"))
    a \\<b\\> of x\\_1
    """
    return re.sub(r"([\\`*_<>\[\]{}|$])", r"\\\1", text)


def table(settings: list[Setting]) -> str:
    """Settings as a table in Markdown."""
    rows = [(f"`{s.key}`", f"`{s.default}`" if s.default else "", plain(s.help)) for s in settings]
    lines = ["| key | default | |", "| --- | --- | --- |", *("| " + " | ".join(row) + " |" for row in rows)]
    return "\n".join(lines)


def _sections(command: str) -> tuple[str, str]:
    """The notes and the examples of a command's ``--help``; a remark behind an example becomes a comment."""
    text = help_text(command)
    notes = text.partition("\n\nDomains:")[0] if "\n\nDomains:" in text else ""
    said = [line.strip() for line in notes.split("\n\n")[-1].splitlines() if line.startswith("  ")]
    examples = text.partition("\nExamples:\n")[2].partition("\n\n")[0]
    remarked = re.compile(r" {2,}\((.*)\)$")
    return " ".join(said), "\n".join(remarked.sub(r"    # \1", line.strip()) for line in examples.splitlines())


class Settings(SphinxDirective):
    """The directive."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """What the file says of itself, the table of its keys, and a command's notes and examples."""
        name = self.arguments[0]
        file = config_file(name)
        self.env.note_dependency(str(file))
        about, settings = read_settings(file.read_text(encoding="utf-8"))
        markdown = [plain(about), "", table(settings)]
        if name not in domains():
            notes, examples = _sections(name)
            markdown += ["", plain(notes), "", "```bash", examples, "```"]
        return self.parse_text_to_nodes("\n".join(markdown))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("settings", Settings)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
