"""Read YAML that others wrote; refuse large files, tags that make Python objects, and aliases that multiply values."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from bistil_ds.errors import InputError

LARGEST = 2**20  # bytes of a file
DEEPEST = 20  # levels of lists and mappings inside one another
MOST_VALUES = 100_000  # values in a file; a value that aliases repeat counts each time
BOOL = "tag:yaml.org,2002:bool"


class _Loader(yaml.SafeLoader):
    """PyYAML's loader of plain values, where only true and false are booleans, as in YAML 1.2: `no` is Norwegian."""

    yaml_implicit_resolvers = {  # noqa: RUF012  (PyYAML's own attribute)
        first: [(tag, pattern) for tag, pattern in resolvers if tag != BOOL]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver(BOOL, re.compile("(true|false)$", re.IGNORECASE), list("tTfF"))


def read_yaml(path: Path, flag: str = "") -> dict[Any, Any]:
    """Return the mapping in a YAML file.

    Args:
        flag: the flag that named the file; the start of an error's message.

    Raises:
        InputError: the file cannot be read, is no YAML that `parse_yaml` takes, or does not hold a mapping.
    """
    where = f"{flag} {path}".strip()
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST + 1)
        values = parse_yaml(content.decode("utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{where}: cannot be read: {error}") from None
    except ValueError as error:
        raise InputError(f"{where}: not YAML: {error}") from None
    if not isinstance(values, dict):
        raise InputError(f"{where}: expected `name: value` lines, found a {type(values).__name__}")
    return values


def parse_yaml(text: str) -> Any:
    """Return the value of a YAML document; `yes`, `no`, `on` and `off` are strings.

    Raises:
        ValueError: the text is not YAML, has a tag that makes a Python object, is longer than LARGEST or deeper than
            DEEPEST, or holds more than MOST_VALUES values once each alias is replaced by what it stands for.
    """
    if len(text) > LARGEST:
        raise ValueError(f"larger than {LARGEST} bytes")
    try:
        _check_depth(text)
        node = yaml.compose(text, Loader=_Loader)
        if node is not None and _count(node, {}) > MOST_VALUES:
            raise ValueError(f"more than {MOST_VALUES:,} values")
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(str(error)) from None
    except (ArithmeticError, AttributeError, LookupError, TypeError) as error:  # a tag such as !!bool on other text
        raise ValueError(f"a value does not fit its tag ({error!r})") from None


def _check_depth(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise ValueError(f"more than {DEEPEST} lists and mappings inside one another")


def _count(node: yaml.Node, counts: dict[int, int]) -> int:
    """Return the number of values in a node; `counts` maps `id(node)` of each node met before to that node's number."""
    if id(node) not in counts:
        counts[id(node)] = MOST_VALUES + 1  # a node that contains itself finds this number: too many values
        parts = node.value if isinstance(node, yaml.CollectionNode) else ()
        flat = [each for part in parts for each in (part if isinstance(part, tuple) else (part,))]
        counts[id(node)] = 1 + sum(_count(part, counts) for part in flat)
    return counts[id(node)]
