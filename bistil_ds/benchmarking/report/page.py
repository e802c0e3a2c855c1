"""Turn gathered records into a Markdown page, or into an HTML page that needs no other file."""

from __future__ import annotations

from collections.abc import Sequence

from bistil_ds.benchmarking.harness.plots import as_svg
from bistil_ds.benchmarking.report.gathering import Gathered
from bistil_ds.console.untrusted import in_html, in_markdown

TITLE = "Benchmarks: students beside the multilingual model they come from"
INTRODUCTION = (
    "Every model is relative to its reference, which is 1.0: a student to its MMT. Times are ratios taken pair by pair "
    "within a round; intervals are 95 %."
)
STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 62rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.5rem; line-height: 1.25; } h2 { margin-top: 2.5rem; } h3 { font-size: 1rem; margin-bottom: .4rem; }
.wide { overflow-x: auto; } figure { margin: 1rem 0; background: #fff; overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid #8885; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: Canvas; }
th { vertical-align: bottom; white-space: normal; }
svg { width: 100%; min-width: 22rem; max-width: 46rem; height: auto; }
.note, .about { font-size: .8rem; opacity: .8; overflow-wrap: anywhere; }
"""


def markdown(results: Sequence[Gathered], left_out: Sequence[str]) -> str:
    """Return the Markdown page: a line about each record, and its tables. Pictures are in the HTML page only."""
    parts = [f"# {TITLE}", "", INTRODUCTION, ""]
    for title, group in _chapters(results):
        parts += [f"## {title}", ""]
        for result in group:
            parts += [in_markdown(result.about()), ""]
            parts += [grid.markdown() for grid in result.entry.tables(result.content)]
    if left_out:
        parts += [in_markdown(f"Left out: {'; '.join(left_out)}."), ""]
    return "\n".join(parts)


def html_page(results: Sequence[Gathered], left_out: Sequence[str]) -> str:
    """Return the HTML page: a line about each record, its pictures and its tables. The page loads no other file."""
    parts = [f"<h1>{in_html(TITLE)}</h1><p>{in_html(INTRODUCTION)}</p>"]
    for title, group in _chapters(results):
        parts.append(f"<h2>{in_html(title)}</h2>")
        for result in group:
            parts.append(f"<p class='about'>{in_html(result.about())}</p>")
            parts += [f"<figure>{as_svg(plot)}</figure>" for plot in result.entry.plots(result.content)]
            parts += [grid.html() for grid in result.entry.tables(result.content)]
    if left_out:
        parts.append(f"<p class='note'>Left out: {in_html('; '.join(left_out))}.</p>")
    head = "<meta charset='utf-8'><meta name='viewport' content='width=device-width, initial-scale=1'>"
    head += f"<title>{in_html(TITLE)}</title>"
    body = "\n".join(parts)
    return f"<!doctype html>\n<html lang='en'><head>{head}<style>{STYLE}</style></head>\n<body>{body}</body></html>\n"


def _chapters(results: Sequence[Gathered]) -> list[tuple[str, list[Gathered]]]:
    titles = list(dict.fromkeys(result.entry.title for result in results))
    return [(title, [result for result in results if result.entry.title == title]) for title in titles]
