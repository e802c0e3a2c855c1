"""A table that can be shown in a terminal, in Markdown or in HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich import box
from rich.table import Table
from rich.text import Text

from bistil_ds.console.untrusted import in_html, in_markdown, one_line


@dataclass
class Grid:
    """Table of text cells. The first `texts` columns hold words; the others hold numbers, which are right-aligned."""

    title: str
    columns: Sequence[str]
    rows: list[list[str]] = field(default_factory=list)
    note: str = ""
    texts: int = 1

    def rich(self) -> Table:
        """Return the table for `bistil_ds.console.terminal.show`."""
        table = Table(title=_plain(self.title), caption=_plain(self.note) if self.note else None)
        table.title_justify = table.caption_justify = "left"
        table.box = box.SIMPLE_HEAD
        for place, column in enumerate(self.columns):
            table.add_column(_plain(column), justify="left" if place < self.texts else "right", overflow="fold")
        for row in self.rows:
            table.add_row(*map(_plain, row))
        return table

    def markdown(self) -> str:
        """Return a heading, the table and the note as Markdown."""
        marks = ["---" if place < self.texts else "---:" for place in range(len(self.columns))]
        head, *body = ([in_markdown(cell) for cell in row] for row in (self.columns, *self.rows))
        lines = [f"### {in_markdown(self.title)}", "", *map(_pipes, (head, marks, *body))]
        return "\n".join([*lines, "", in_markdown(self.note), ""] if self.note else [*lines, ""])

    def html(self) -> str:
        """Return the table as a `<section>`; its `<div class='wide'>` can scroll sideways on a narrow page."""
        head = "".join(f"<th>{in_html(column)}</th>" for column in self.columns)
        body = "".join("<tr>" + "".join(f"<td>{in_html(cell)}</td>" for cell in row) + "</tr>" for row in self.rows)
        note = f"<p class='note'>{in_html(self.note)}</p>" if self.note else ""
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        return f"<section><h3>{in_html(self.title)}</h3><div class='wide'>{table}</div>{note}</section>"


def _plain(text: str) -> Text:
    return Text(one_line(text))


def _pipes(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
