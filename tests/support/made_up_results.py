"""Results in the files that benchmarks write, with made-up numbers, and a reader of the report's pages."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import torch

from bistil_ds.benchmarking.harness.result_file import ResultFile
from bistil_ds.benchmarking.latency.measure import Run, Turns, rows_of
from bistil_ds.benchmarking.models.plan import AGAIN, MeasurementPlan
from bistil_ds.benchmarking.models.subject import InputCase

CPU = torch.device("cpu")
CASE = InputCase(batch=1, length=128, threads=1)


def latency_result(folder: Path, time: str, seed: int = 0, slower: float = 1.0, quick: bool = False) -> Path:
    """Write a latency result of mBERT and a student that takes half its time; `slower` multiplies both times."""
    draw = random.Random(seed)
    plan = MeasurementPlan(["mBERT", "mBERT k2 30k"], [], [], CPU, 1.0)
    turns = Turns({}, draw, lambda what: None, "")
    seconds = {"mBERT": 0.1, "mBERT k2 30k": 0.05, "mBERT k2 30k" + AGAIN: 0.05}
    for label, base in seconds.items():
        run = Run(label, "eager", "float32")
        turns.rounds[run] = [[base * slower * draw.lognormvariate(0, 0.02) for _ in range(3)] for _ in range(30)]
        turns.warm_up[run] = {"stable": True}
    result = ResultFile(folder, "latency", CPU, {"quick": quick})
    result.path = folder / f"latency{'-quick' * quick}-cpu-x86_64-{time}.json"
    result.content["machine_before"]["load_average"] = [0.0, 0.0, 0.0]
    sizes = {"parameters": 10, "embedding_parameters": 5, "encoder_parameters": 5}
    result.content["models"] = dict.fromkeys(seconds, sizes)
    result.content["rows"] = rows_of(plan, CASE, turns, {run: {"disk_bytes": 10**6} for run in turns.rounds}, {})
    result.save()
    return result.path


def side_by_side_result(folder: Path, milliseconds: dict[tuple[str, str], float]) -> Path:
    """Write a latency result of engines side by side, at batch 1 and 8: (model, engine) → milliseconds a sentence."""
    names = list(dict.fromkeys(name for name, _ in milliseconds))
    plan = MeasurementPlan(names, [], [], CPU, 1.0, side_by_side=True)
    result = ResultFile(folder, "latency", CPU, {"side_by_side": True})
    result.content["models"] = {name: {"parameters": 10**7} for name in names}
    for case in (CASE, replace(CASE, batch=8)):
        turns = Turns({}, random.Random(0), lambda what: None, "")
        for (label, engine), time in milliseconds.items():
            turns.rounds[Run(label, engine, "float32")] = [[time / 1e3 * case.batch]] * 8
        turns.warm_up = {run: {"stable": True} for run in turns.rounds}
        facts = {run: {"disk_bytes": 10**6 if "int8" in run.engine else 4 * 10**6} for run in turns.rounds}
        result.content["rows"] += rows_of(plan, case, turns, facts, {})
    result.save()
    return result.path


def evaluation(folder: Path) -> Path:
    def scores(value: float) -> dict[str, Any]:
        return {"score": {"f1": {"value": value, "low": value - 0.01, "high": value + 0.01}}}

    def model(parameters: int, speed: float, value: float) -> dict[str, Any]:
        languages = {"en": scores(value + 0.1), "tr": scores(value - 0.1)}
        facts = {"parameters": parameters, "examples_per_second": speed}
        return {**facts, "languages": languages, "macro_average": scores(value)}

    models = {"teacher": model(100, 10.0, 0.7), "k2 <b>": model(40, 20.0, 0.65), "k3": model(30, 30.0, 0.56)}
    content = {
        "task": "ner",
        "metric": "f1",
        "reference": "teacher",
        "test_sets": {"en": {}, "tr": {}},
        "models": models,
    }
    path = folder / "evaluation-ner.json"
    path.write_text(json.dumps(content))
    return path


class Page(HTMLParser):
    """Parser that collects the files a page loads and its tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        found = dict(attributes)
        self.loaded += [found[name] for name in ("src", "href") if found.get(name) and not found[name].startswith("#")]
        self.tags.append(tag)


EVIL = "_$\\frac{ <script>alert(1)</script> | # \x1b[31m\u202e\ud800 ]]> --> [x](http://e.example)"
