"""A table once, shown in a terminal, in Markdown or in HTML."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich import box
from rich.table import Table


@dataclass
class Grid:
    """Cells as text. The first column is a name, the others are numbers and stand to the right."""

    title: str
    columns: Sequence[str]
    rows: list[list[str]] = field(default_factory=list)
    note: str = ""

    def rich(self) -> Table:
        """For `rich.console.Console.print`."""
        table = Table(title=self.title, caption=self.note or None, title_justify="left", caption_justify="left")
        table.box = box.SIMPLE_HEAD
        for i, column in enumerate(self.columns):
            table.add_column(column, justify="right" if i else "left", overflow="fold")
        for row in self.rows:
            table.add_row(*row)
        return table

    def markdown(self) -> str:
        """A heading, the table, the note."""
        lines = [f"### {self.title}", "", _pipes(self.columns), _pipes(["---", *["---:"] * (len(self.columns) - 1)])]
        lines += [_pipes(row) for row in self.rows]
        return "\n".join([*lines, "", self.note, ""] if self.note else [*lines, ""])

    def html(self) -> str:
        """A `<section>`; it scrolls sideways by itself where the page is narrow."""
        head = "".join(f"<th>{html.escape(column)}</th>" for column in self.columns)
        body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in self.rows)
        note = f"<p class='note'>{html.escape(self.note)}</p>" if self.note else ""
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        return f"<section><h3>{html.escape(self.title)}</h3><div class='wide'>{table}</div>{note}</section>"


def _pipes(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
