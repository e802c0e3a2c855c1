"""Find the blocks of code, the commands and the flags that README, CONTRIBUTING and docs/ show."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
DOCUMENTS = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
SCRIPT = re.compile(r"(?:(?:launch_scripts|benchmarks|examples|tests/support)/)?\w+\.py")
COMMAND = re.compile(r"make|python|deepspeed|torchrun|pip|docker|bistil-\w+|" + SCRIPT.pattern)


@dataclass(frozen=True)
class Block:
    """A block of code: `kind` is the language of a fence, or `indented`."""

    document: str
    line: int
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


def blocks(path: Path, text: str | None = None) -> list[Block]:
    """Return all blocks of code in a document, fenced ones and those indented by four spaces."""
    found, kind, part, start = [], "", [], 0
    before = ""
    for number, line in enumerate([*(text or path.read_text(encoding="utf-8")).splitlines(), ""], 1):
        if kind not in ("", "indented"):
            if line.startswith("```"):
                found.append(Block(path.name, start, kind, "\n".join(part)))
                kind, part = "", []
            else:
                part.append(line)
        elif line.startswith("    ") and (kind or not before.strip()):
            kind, start = "indented", start if kind else number
            part.append(line[4:])
        else:
            if kind:
                found.append(Block(path.name, start, kind, "\n".join(part)))
                kind, part = "", []
            if line.startswith("```"):
                kind, start = line[3:].strip() or "no language", number
        before = line
    return found


def inline(path: Path) -> list[str]:
    """Return the texts between single backticks outside of blocks; a text may continue on the next line."""
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"^    .*$", "", text, flags=re.MULTILINE)
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text)]


def commands(block: Block) -> Iterator[list[str]]:
    """Yield the words of each command in a block; `\\` joins lines, `&&` separates commands, `#` starts a comment."""
    for line in block.text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while "&&" in words:
            end = words.index("&&")
            yield words[:end]
            words = words[end + 1 :]
        if words:
            yield words


def own_commands(block: Block) -> Iterator[list[str]]:
    """Yield the words, launcher included, of each command in a shell script that runs one of `launch_scripts/`."""
    text = re.sub(r"^\s*#.*$", "", block.text.replace("\\\n", " "), flags=re.MULTILINE)
    for line in re.split(r"\n|;|'", text):
        if found := re.search(r"(?:python|deepspeed|torchrun) .*launch_scripts/.*", line):
            yield shlex.split(found[0].replace("...'", "..."))


def inline_commands(path: Path) -> list[list[str]]:
    """Return the words of each command in running text; a name such as `make` counts only with a word after it."""
    found = [span.split() for span in inline(path)]
    return [words for words in found if len(words) > 1 and COMMAND.fullmatch(words[0])]


def inline_flags(path: Path) -> list[str]:
    """Return each flag that running text names without its command."""
    return [found[1] for span in inline(path) if (found := re.match(r"--(\w[\w-]*)", span))]
