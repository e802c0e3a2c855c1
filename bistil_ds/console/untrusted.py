"""Make text that others wrote harmless to show: names, labels, paths, messages of libraries.

There is a function for each place: terminal, Markdown, Python code, HTML. Text without special characters stays as it
is, but `as_code` and `as_python` put it in quotes.
"""

from __future__ import annotations

import html
import re
import unicodedata

LONGEST = 10_000  # characters; a longer text is cut
_SPACES = re.compile(r"\s+")
_JOINERS = "\u200c\u200d"  # invisible characters that the spelling of Persian, Hindi and other languages needs
_SPECIAL = re.compile(
    r"[\\`*<|~$]"
    r"|&(?=[#\w])"  # the start of an entity such as &amp;
    r"|(?<![^\W_])_|_(?![^\W_])"  # emphasis; between two letters or digits, _ means nothing
    r"|\](?=[\[(:])"  # the middle of a link or of a link's definition
    r"|:(?=//)|(?<=www)\."  # what GitHub turns into a link by itself
    r"|^(?:[-+](?= |$)|[-=]+$|[>#])"  # a list, a rule, a quotation or a heading
)
_NUMBERED = re.compile(r"^(\d+)([.)])(?= |$)")  # the start of a numbered list


def one_line(text: str) -> str:
    """Return text for a terminal or a log: one line, in which control characters are shown as escapes such as `\\x1b`.

    Two more kinds are shown as escapes: invisible characters, such as those that change the direction of writing, and
    bytes of a path that are not UTF-8. A text longer than LONGEST is cut.
    """
    if len(text) > LONGEST:
        text = f"{text[:LONGEST]}…"
    # A run of plain spaces stays; a run with a tab or a line break becomes one space.
    text = _SPACES.sub(lambda run: " " if run[0].strip(" ") else run[0], text).strip()
    return text if text.isprintable() else "".join(map(_visible, text))


def is_utf8(text: str) -> bool:
    """Return whether text can be written as UTF-8: it has no half of a surrogate pair, as an escape in JSON may."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def in_markdown(text: str) -> str:
    """Return text with escapes, so that a paragraph, heading or table cell in Markdown shows it as it is."""
    return _NUMBERED.sub(r"\1\\\2", _SPECIAL.sub(r"\\\g<0>", one_line(text)))


def as_code(text: str) -> str:
    """Return text as a code span in Markdown, or as plain text where a code span cannot hold it."""
    text = one_line(text)
    return in_markdown(text) if not text or "`" in text or "|" in text else f"`{text}`"


def as_python(text: str) -> str:
    """Return text as a Python string in double quotes, in one line."""
    return '"' + "".join(_in_quotes(character) for character in text) + '"'


def in_html(text: str) -> str:
    """Return text for an HTML page, inside an element or an attribute in quotes."""
    return html.escape(one_line(text))


def _visible(character: str) -> str:
    hidden = unicodedata.category(character) in ("Cc", "Cf", "Cs") and character not in _JOINERS
    return _escaped(character) if hidden else character


def _in_quotes(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    return character if character.isprintable() else _escaped(character)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()
