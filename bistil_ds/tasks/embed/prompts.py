"""Parse the prompts that a user gives for sentence vectors."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bistil_ds.errors import InputError

NAMED_PROMPT = re.compile(r"(\w+)=(.*)", re.DOTALL)


def parse_prompts(words: Sequence[str] | None) -> dict[str, str] | None:
    """Return name → text of each word `[NAME=]TEXT`; a text without a name is called `default`.

    Raises:
        InputError: two words have one name.
    """
    if words is None:
        return None
    prompts: dict[str, str] = {}
    for word in words:
        match = NAMED_PROMPT.fullmatch(word)
        name, text = (match[1], match[2]) if match else ("default", word)
        if name in prompts:
            raise InputError(f"--prompt {word!r}: {name} is given twice; name each, such as query='query: '")
        prompts[name] = text
    return prompts
