"""Test that records of every earlier format are read as records of today's."""

from __future__ import annotations

import pytest

from bistil_ds.benchmarking.harness.old_records import renew


def test_todays_record_stays_as_it_is() -> None:
    record = {"benchmark": "memory", "rows": [{"model": "a"}], "arguments": {}}
    assert renew(record) == record


def test_an_evaluation_becomes_a_row_and_its_runs_facts_the_records() -> None:
    evaluation = {"task": "pos", "metric": "accuracy", "models": {}, "test_sets": {}, "device": "cpu"}
    run = {"started": "2026-11-21T10:00:00+00:00", "versions": {"torch": "2"}, "arguments": {"task": "pos"}}
    found = renew({**evaluation, "run": run})
    assert found == {
        "benchmark": "claims",
        "device": "cpu",
        "date": run["started"],
        "versions": run["versions"],
        "arguments": run["arguments"],
        "rows": [evaluation],
    }


def test_full_size_had_a_mapping_of_models_to_stages() -> None:
    old = {"quick": False, "hardware": {"cpu": "x"}, "results": {"m": {"trim": {"seconds": 1.0, "peak_bytes": 2}}}}
    found = renew(old)
    assert found is not None
    assert found["benchmark"] == "full_size"
    assert found["hardware"] == {"cpu": "x"}
    assert found["rows"] == [{"model": "m", "stage": "trim", "seconds": 1.0, "peak_bytes": 2}]


def test_kernel_resources_had_neither_date_nor_machine_and_gets_none() -> None:
    found = renew({"triton": "3.7.1", "rows": [{"file": "sparse", "kernel": "k"}]})
    assert found is not None
    assert found["rows"] == [{"operation": "sparse", "file": "sparse", "kernel": "k"}]
    assert not {"date", "hardware", "versions"} & set(found)


def test_throughput_had_a_mapping_for_each_table() -> None:
    ways = {"ours": {"seconds": [1.0, 2.0]}}
    found = renew({"date": "d", "ways_256": ways, "teachers_256": ways, "costs": {"int8": {"hidden": 0.1}}})
    assert found is not None
    assert found["date"] == "d"
    assert [(row["table"], row["way"]) for row in found["rows"]] == [
        ("length 256", "ours"),
        ("our step with a cheaper teacher, length 256", "ours"),
        ("change in the loss", "int8"),
    ]


@pytest.mark.parametrize("other", [{}, {"rows": []}, {"quick": True}, {"results": {}}, {"triton": "3"}])
def test_anything_else_is_no_record(other: dict[str, object]) -> None:
    assert renew(other) is None
