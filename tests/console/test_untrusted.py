"""Test that names and labels of others stay text on a terminal, in Markdown, in Python and in HTML."""

from __future__ import annotations

import ast
import html
import string
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from reading_code.import_graph import ROOT

from bistil_ds.console.untrusted import LONGEST, as_code, as_python, in_html, in_markdown, one_line

ESCAPES = {
    "colour": ("\x1b[31mred", "\\x1b[31mred"),
    "title": ("\x1b]0;owned\x07", "\\x1b]0;owned\\x07"),
    "C1": ("a\x9b2Jb", "a\\x9b2Jb"),
    "overwritten": ("error\b\b\b\b\bok", "error\\x08\\x08\\x08\\x08\\x08ok"),
    "new lines": ("a\r\nb\x0bc\u2028d\x85e", "a b c d e"),
    "direction": ("\u202egnp.exe", "\\u202egnp.exe"),
    "bytes of a path": (b"\xff".decode("utf-8", "surrogateescape"), "\\udcff"),
    "NUL": ("a\0b", "a\\x00b"),
    "invisible": ("a\u200bb\ufeff", "a\\u200bb\\ufeff"),
}
PLAIN = [
    "xlm-roberta-base",
    "runs/ner (2)",
    "Türkçe, हिन्दी, 中文",
    "می\u200cخواهم",
    "a    b",
    "{}[]<>&'\"",
    "👩\u200d🔬",
]
HOSTILE = [
    *(case for case, _ in ESCAPES.values()),
    "<script>alert(1)</script>",
    "<!-- ",
    "&lt;b&gt;",
    "[x](http://evil.example)",
    "![x](http://evil.example/x.png)",
    "[x]: http://evil.example",
    "see http://evil.example or www.evil.example",
    "# heading",
    "---",
    "===",
    "- item",
    "+ item",
    "1. item",
    "> quotation",
    "``` python",
    "`code` ``code``",
    "**bold** __bold__ _em_ *em* ~~gone~~",
    "a | b",
    "$x$",
    "back\\",
    "\\`",
    '"; import os; os.system("true") #',
    "\n```\nimport os",
    "\n\n# heading",
]


@pytest.mark.parametrize(("text", "shown"), ESCAPES.values(), ids=ESCAPES)
def test_a_terminal_gets_one_line_without_control_characters(text: str, shown: str) -> None:
    assert one_line(text) == shown


@pytest.mark.parametrize("text", PLAIN)
def test_text_of_any_language_stays_as_it_is(text: str) -> None:
    assert one_line(text) == text


def test_of_a_very_long_text_the_start_is_shown() -> None:
    assert one_line("a" * 10**7) == "a" * LONGEST + "…"


@pytest.mark.parametrize("text", [" " * LONGEST, "a" + " \n" * (LONGEST // 2), ("a" + " " * 99) * (LONGEST // 100)])
def test_a_row_of_spaces_takes_no_time(text: str) -> None:
    seconds = []
    for _ in range(3):  # a collection of garbage may fall into one
        began = time.process_time()
        one_line(text)
        seconds.append(time.process_time() - began)
    assert min(seconds) < 0.1  # searching from each space to the end of the row took 0.7 s


@pytest.mark.parametrize("text", ["ner-en", "en_acc", "a_b_c (2)", "-5.0", "1.5 [1.2, 1.8]", "a: b, c/d", "C#", "95 %"])
def test_ordinary_text_stays_readable_in_markdown(text: str) -> None:
    assert (in_markdown(text), as_code(text)) == (text, f"`{text}`")


def shown_in_markdown(text: str, before: str) -> str:
    """Return what a reader sees of `text` behind `before`; fail where it is anything but a paragraph of text."""
    tokens = MarkdownIt("commonmark", {"linkify": False}).enable("table").parse(f"{before}{text}")
    assert [token.type for token in tokens] == ["paragraph_open", "inline", "paragraph_close"], tokens
    children = tokens[1].children or []
    assert {child.type for child in children} <= {"text", "text_special", "code_inline"}, children
    return "".join(child.content for child in children).removeprefix(before)


@pytest.mark.parametrize("escape", [in_markdown, as_code])
@pytest.mark.parametrize("text", [*PLAIN, *HOSTILE])
def test_markdown_shows_the_text_and_nothing_else(text: str, escape: object) -> None:
    for before in ("", "name: "):
        assert shown_in_markdown(escape(text), before) == one_line(text)  # type: ignore[operator]


@settings(deadline=None, derandomize=True)
@given(st.text(alphabet=st.sampled_from(string.punctuation + " a1\n\t\x1b\u202e"), max_size=12))
def test_no_row_of_punctuation_is_markup(text: str) -> None:
    for escape in (in_markdown, as_code):
        assert shown_in_markdown(escape(text) or "x", "") in (one_line(text), "x")


@pytest.mark.parametrize("text", [*PLAIN, *HOSTILE])
def test_a_table_keeps_its_cells(text: str) -> None:
    for escape in (in_markdown, as_code):
        tokens = MarkdownIt().enable("table").parse(f"| a | b |\n|---|---|\n| {escape(text)} | c |\n")
        cells = [tokens[i + 1] for i, token in enumerate(tokens) if token.type == "td_open"]
        assert ["".join(child.content for child in cell.children or []) for cell in cells] == [one_line(text), "c"]


def test_github_makes_no_link_of_an_address() -> None:
    assert in_markdown("http://a www.b") == "http\\://a www\\.b"


@pytest.mark.parametrize("text", [*PLAIN, *HOSTILE, "".join(map(chr, range(0x100)))])
def test_a_python_string_is_the_text_itself_in_one_line(text: str) -> None:
    written = as_python(text)
    assert ast.literal_eval(written) == text
    assert written.isprintable()
    assert written[0] == '"'


@pytest.mark.parametrize("text", [*PLAIN, *HOSTILE])
def test_html_has_no_elements_in_it(text: str) -> None:
    class Reader(HTMLParser):
        found: list[str] = []  # noqa: RUF012

        def handle_starttag(self, tag: str, attrs: object) -> None:
            self.found.append(tag)

    reader = Reader()
    reader.feed(f"<p title='{in_html(text)}'>{in_html(text)}</p>")
    assert reader.found == ["p"]
    assert html.unescape(in_html(text)) == one_line(text)


PRINTING = ("print", "sys.stdout.write", "sys.stderr.write")


def printing(path: Path) -> list[str]:
    """Return the places in a file that print, or that import a library which does."""
    found = []
    text = path.read_text(encoding="utf-8")
    may = any(word in text for word in (*PRINTING, "rich", "tqdm"))  # parsing all takes long
    for node in ast.walk(ast.parse(text)) if may else ():
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        prints = isinstance(node, ast.Call) and ast.unparse(node.func) in (
            "print",
            "sys.stdout.write",
            "sys.stderr.write",
        )
        if prints or any(name.partition(".")[0] in ("rich", "tqdm") for name in names):
            found.append(f"{path.name}:{node.lineno}")  # type: ignore[attr-defined]
    return found


def test_only_the_console_prints(tmp_path: Path) -> None:
    package = ROOT / "bistil_ds"
    found = {path: printing(path) for path in package.rglob("*.py") if path.parent != package / "console"}
    assert [place for places in found.values() for place in places] == []
    (tmp_path / "x.py").write_text("import rich\nfrom tqdm import tqdm\nprint(1)\n")
    assert len(printing(tmp_path / "x.py")) == 3
