"""Test what a result file holds, how it is written, and which ones are refused."""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from bistil_ds.benchmarking.harness.machine_state import all_threads, machine_state, thread_counts
from bistil_ds.benchmarking.harness.result_file import ResultFile, read_result
from bistil_ds.errors import InputError

CPU = torch.device("cpu")


def test_a_result_says_what_it_was_measured_on_and_how(tmp_path: Path) -> None:
    with ResultFile(tmp_path / "new", "latency", CPU, {"minutes": 3.0}, {"turns": 7}) as result:
        result.content["rows"].append({"seconds": [1.0]})
    content = read_result(result.path)
    assert content["hardware"]["cpu"]
    assert content["versions"]["torch"] == version("torch")
    assert content["threads"]["torch"] == torch.get_num_threads()
    assert content["arguments"] == {"minutes": 3.0}
    assert content["seeds"] == {"turns": 7}
    assert content["machine_before"]["load_average"]
    assert content["machine_after"]["load_average"]
    assert {"git", "command", "date", "device"} <= set(content)
    assert result.path.name.startswith("latency-cpu-")


def test_raw_samples_take_one_line_and_keep_six_digits(tmp_path: Path) -> None:
    with ResultFile(tmp_path, "latency", CPU, {"quick": True}) as result:
        result.content["rows"] += [{"seconds": [[1.23456789e-3, 2.0], [3.0]], "names": ["a", "b"]}]
    assert "[0.00123457, 2.0]" in result.path.read_text()
    assert read_result(result.path)["rows"] == [{"seconds": [[0.00123457, 2.0], [3.0]], "names": ["a", "b"]}]
    assert "quick" in result.path.name


def test_what_was_saved_survives_a_kill_and_an_interruption_is_noted(tmp_path: Path) -> None:
    result = ResultFile(tmp_path, "memory", CPU, {})
    result.content["rows"].append({"model": "a"})
    result.save()
    assert read_result(result.path)["machine_after"] is None  # a killed run leaves the file without it
    with pytest.raises(KeyboardInterrupt), result:
        raise KeyboardInterrupt
    assert read_result(result.path)["interrupted"] is True
    assert not list(tmp_path.glob("*.part"))


def test_a_run_that_measured_nothing_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), ResultFile(tmp_path, "memory", CPU, {}):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_to_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="--output_dir"):
        ResultFile(tmp_path / "file" / "results", "memory", CPU, {})  # the error comes before anything is measured


@pytest.mark.parametrize("text", ["", "{", "[]", '{"rows": []}', '{"benchmark": "x", "rows": {}}', "\udcff"])
def test_a_file_that_is_no_result_is_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=r"other\.json.*give a result file"):
        read_result(path)
    with pytest.raises(InputError, match=r"absent\.json"):
        read_result(tmp_path / "absent.json")


def test_the_machine_tells_what_it_can_and_none_for_the_rest() -> None:
    state = machine_state()
    assert state["memory_available_bytes"] > 0
    assert state["gpus"] is None or torch.cuda.is_available()
    assert state["cpu_mhz"] is None or min(state["cpu_mhz"]) > 0
    json.dumps(state)
    assert thread_counts()["torch"] >= 1
    assert all_threads() >= 1


def test_gpus_of_nvidia_are_not_told_where_torch_runs_on_amds(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = SimpleNamespace(nvmlInit=lambda: None, nvmlDeviceGetCount=lambda: 0, nvmlSystemGetDriverVersion=lambda: "1")
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert machine_state()["gpus"] == []
    monkeypatch.setattr(torch.version, "hip", "7.0")
    assert machine_state()["gpus"] is None
