"""A table that can be shown in a terminal, in Markdown or in HTML."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich import box
from rich.markup import escape
from rich.table import Table


@dataclass
class Grid:
    """Table of text cells. The first `texts` columns hold words; the others hold numbers, which are right-aligned."""

    title: str
    columns: Sequence[str]
    rows: list[list[str]] = field(default_factory=list)
    note: str = ""
    texts: int = 1

    def rich(self) -> Table:
        """Return the table for `rich.console.Console.print`."""
        table = Table(title=escape(self.title), caption=escape(self.note) or None)
        table.title_justify = table.caption_justify = "left"
        table.box = box.SIMPLE_HEAD
        for place, column in enumerate(self.columns):
            table.add_column(escape(column), justify="left" if place < self.texts else "right", overflow="fold")
        for row in self.rows:
            table.add_row(*map(escape, row))
        return table

    def markdown(self) -> str:
        """Return a heading, the table and the note as Markdown."""
        marks = ["---" if place < self.texts else "---:" for place in range(len(self.columns))]
        lines = [f"### {self.title}", "", *map(_pipes, (self.columns, marks, *self.rows))]
        return "\n".join([*lines, "", self.note, ""] if self.note else [*lines, ""])

    def html(self) -> str:
        """Return the table as a `<section>`; its `<div class='wide'>` can scroll sideways on a narrow page."""
        head = "".join(f"<th>{html.escape(column)}</th>" for column in self.columns)
        body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in self.rows)
        note = f"<p class='note'>{html.escape(self.note)}</p>" if self.note else ""
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        return f"<section><h3>{html.escape(self.title)}</h3><div class='wide'>{table}</div>{note}</section>"


def _pipes(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
