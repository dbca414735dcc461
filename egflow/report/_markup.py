"""The report's table on other pages: HTML in the reader's own colours for a notebook, Markdown for a model card."""

from __future__ import annotations

import re
from html import escape

from rich.table import Table


def cells(table: Table) -> tuple[list[str], list[list[str]]]:
    """The words of a rich table: its header, and its rows."""
    columns = [[str(cell) for cell in column.cells] for column in table.columns]
    return [str(column.header) for column in table.columns], [list(row) for row in zip(*columns, strict=True)]


def as_html(table: Table) -> str:
    """The table as HTML, everything escaped, title above and caption below, with no colour of its own."""
    header, rows = cells(table)
    left = ' style="text-align: left"'
    head = "".join(f"<th{left}>{escape(name)}</th>" for name in header)
    body = "".join(
        "<tr>" + "".join(f'<td style="text-align: left; white-space: pre-wrap">{escape(cell)}</td>' for cell in row)
        + "</tr>"
        for row in rows
    )  # fmt: skip
    title = f"<p><b>{escape(str(table.title))}</b></p>" if table.title else ""
    caption = f"<p>{escape(str(table.caption))}</p>" if table.caption else ""
    return f"{title}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{caption}"


def as_markdown(table: Table) -> str:
    """The table's rows as a Markdown table, everything escaped."""
    header, rows = cells(table)
    lines = [header, ["---"] * len(header), *([_cell(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    """One cell, indented as it was."""
    return "&nbsp;" * (len(text) - len(text.lstrip(" "))) + markdown(text)


def markdown(text: str) -> str:
    """Text on one line of Markdown in which nothing is a sign of Markdown or HTML.

    >>> markdown("a|b <i>*x*</i>")
    'a\\\\|b &lt;i&gt;\\\\*x\\\\*&lt;/i&gt;'
    """
    return re.sub(r"([\\`*_\[\]|~$#!])", r"\\\1", escape(" ".join(text.split()), quote=False))
