"""Convert records that were written before all benchmarks had one format.

Of the facts that an old record lacks, `benchmark` and `device` are filled in; the others stay missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FACTS = ("hardware", "versions", "git", "arguments", "seeds", "command")
WAYS, TEACHERS = "ways_", "teachers_"  # how keys of old throughput records begin; the length follows


def renew(content: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the record in today's format, which has `benchmark` and `rows`; None if it is not one of our records."""
    if isinstance(content.get("rows"), list) and "benchmark" in content:
        return dict(content)
    for is_one, read in READERS:
        if is_one(content):
            return read(content)
    return None


def is_evaluation(content: Mapping[str, Any]) -> bool:
    """Return whether `content` is what `evaluate.py` writes."""
    return {"models", "test_sets", "metric", "task"} <= set(content)


def _evaluation(content: Mapping[str, Any]) -> dict[str, Any]:
    run = content.get("run", {})
    facts = {name: run[name] for name in FACTS if name in run}
    if "started" in run:
        facts["date"] = run["started"]
    row = {name: value for name, value in content.items() if name != "run"}
    return {"benchmark": "claims", "device": content.get("device", ""), **facts, "rows": [row]}


def _full_size(content: Mapping[str, Any]) -> dict[str, Any]:
    facts = {name: content[name] for name in FACTS if name in content}
    rows = [
        {"model": model, "stage": stage, **found}
        for model, stages in content["results"].items()
        for stage, found in stages.items()
    ]
    return {"benchmark": "full_size", "device": "cpu", "arguments": {"quick": content["quick"]}, **facts, "rows": rows}


def _kernel_resources(content: Mapping[str, Any]) -> dict[str, Any]:
    rows = [{"operation": row["file"], **row} if "file" in row else row for row in content["rows"]]
    return {"benchmark": "kernel_resources", "device": "meta", **content, "rows": rows}


def _throughput(content: Mapping[str, Any]) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    for key, ways in content.items():
        if key.startswith(WAYS):
            title = f"length {key.removeprefix(WAYS)}"
        elif key.startswith(TEACHERS):
            title = f"our step with a cheaper teacher, length {key.removeprefix(TEACHERS)}"
        elif key == "costs":
            title = "change in the loss"
        else:
            continue
        rows += [{"table": title, "way": way, **row} for way, row in ways.items()]
    facts = {name: content[name] for name in (*FACTS, "date", "device", "shapes") if name in content}
    return {"benchmark": "throughput", **facts, "rows": rows}


READERS = (
    (is_evaluation, _evaluation),
    (lambda content: "quick" in content and isinstance(content.get("results"), Mapping), _full_size),
    (lambda content: "triton" in content and isinstance(content.get("rows"), list), _kernel_resources),
    (lambda content: any(key.startswith(WAYS) for key in content), _throughput),
)
