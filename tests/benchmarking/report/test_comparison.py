"""Test the comparison of two results: what is a change, what is noise, and what cannot be told."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from made_up_results import latency_result

from benchmarks.report import main
from bistil_ds.benchmarking.report.comparison import compare
from bistil_ds.benchmarking.report.gathering import read
from bistil_ds.errors import InputError


def test_the_same_result_twice_is_inside_the_noise_and_a_tenth_slower_is_not(tmp_path: Path) -> None:
    paths = [latency_result(tmp_path, f"2026010{n}-000000", n, slower) for n, slower in ((1, 1.0), (2, 1.0), (3, 1.1))]
    one, same, slower = (json.loads(path.read_text()) for path in paths)
    assert {row[-1] for row in compare(one, same).rows} == {"inside the noise"}
    times = {
        verdict: [row for row in compare(a, b).rows if row[-1] == verdict]
        for a, b, verdict in ((one, slower, "higher"), (slower, one, "lower"))
    }
    assert [row[0] for row in times["higher"]] == [row[0] for row in times["lower"]] == ["mBERT", "mBERT k2 30k"]
    assert all(row[1].endswith(", s") for row in times["higher"])
    (relative,) = [row for row in compare(one, slower).rows if row[1].endswith("over its reference")]
    assert relative[-1] == "inside the noise"  # the machine was slower, and the student's ratio to its reference stayed
    assert "the same model twice" in compare(one, same).note


def test_one_noisy_case_does_not_hide_a_change_in_another(tmp_path: Path) -> None:
    def with_noisy_case(path: Path) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(path.read_text())
        noisy = [{**row, "length": 32} for row in content["rows"]]
        # the row of the same model under a second name, from which the noise is read
        noisy[-1]["ratio"] = {"median": 1.5, "low": 1.4, "high": 1.6}
        content["rows"] += noisy
        return content

    one, slower = (
        with_noisy_case(latency_result(tmp_path, f"2026010{n}-000000", n, slower)) for n, slower in ((1, 1.0), (2, 1.1))
    )
    verdicts = {(row[0], row[1]): row[-1] for row in compare(one, slower).rows}
    assert verdicts["mBERT", "eager float32, batch 1, length 128, 1 thread, s"] == "higher"
    assert verdicts["mBERT", "eager float32, batch 1, length 32, 1 thread, s"] == "inside the noise"


def test_another_machine_is_noted(tmp_path: Path) -> None:
    one = json.loads(latency_result(tmp_path, "20260101-000000").read_text())
    assert "versions differ" in compare(one, {**one, "versions": {}}).note
    assert "differ" not in compare(one, one).note


def test_single_values_are_not_called_noise_or_change() -> None:
    def memory(peak: int, dtype: str = "float32") -> dict[str, Any]:
        stages = {"inference": {"peak": peak}, "training": {"unavailable": "too large"}}
        machine = {"machine_before": {"load_average": [9.0]}, "hardware": {"threads": 2}}
        given = {"batch": 1, "length": 8, "dtype": dtype}
        return {"benchmark": "memory", "rows": [{"model": "a", **stages}], "arguments": given, **machine}

    ((*_, ratio, verdict),) = compare(memory(100), memory(90)).rows
    assert (ratio, verdict) == ("0.900, no interval", "of unknown noise")
    assert "first; the machine was busy" in compare(memory(100), memory(90)).note
    assert compare(memory(100), memory(100)).rows[0][-1] == "inside the noise"
    with pytest.raises(InputError, match="no model and case in common"):
        compare(memory(100), memory(50, "bfloat16"))


def test_one_value_beside_many_gives_no_interval(tmp_path: Path) -> None:
    many = json.loads(latency_result(tmp_path, "20260101-000000").read_text())
    single = json.loads(latency_result(tmp_path, "20260102-000000", slower=2).read_text())
    for row in single["rows"]:
        row["seconds"] = row["seconds"][:1]
    for first, second in ((many, single), (single, many)):
        rows = [row for row in compare(first, second).rows if row[0] == "mBERT"]
        assert all(row[-2].endswith(", no interval") and row[-1] == "of unknown noise" for row in rows)
        assert rows


VALUES = (None, [], {}, "x", -1, 0, 1e300, 10**290)  # None: the key is missing


def spoilt(content: dict[str, Any], draw: random.Random) -> None:
    """Replace or remove one value somewhere in `content`."""
    holder: Any = content
    while True:
        places = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        place = draw.choice(places)
        value = holder[place]
        if isinstance(value, dict | list) and value and draw.random() < 0.8:
            holder = value
            continue
        other = draw.choice(VALUES)
        if other is None:
            del holder[place]
        else:
            holder[place] = other
        return


def test_half_a_record_is_left_out_or_shown_and_never_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results, draw = Path(__file__).parents[3] / "benchmarks" / "results", random.Random(0)
    names = ("latency", "memory", "energy", "flops", "scaling", "throughput", "kernel_upstream")
    fates: Counter[bool] = Counter()
    for source in [next(iter(sorted(results.glob(f"{name}-*.json")))) for name in names] * 5:
        content = json.loads(source.read_text())
        content |= {"rows": content["rows"][:9]} if "rows" in content else {}
        for _ in range(draw.choice((1, 1, 3))):
            spoilt(content, draw)
        path = tmp_path / "spoilt.json"
        path.write_text(json.dumps(content))
        found = read(path)
        fates[found is None] += 1
        assert main(["--compare", str(path), str(path)]) in (0, 2)
    assert min(fates[True], fates[False]) > 5, fates
    assert "Traceback" not in capsys.readouterr().err
