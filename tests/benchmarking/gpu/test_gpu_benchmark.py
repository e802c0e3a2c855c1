"""Test the GPU run as a command: a rehearsal of every part, and parts that crash, hang or cannot run.

All tests that start processes are in this file, so that they share the server that these are forks of.
"""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu import main
from bistil_ds.benchmarking.gpu.child import Event, launch, start_server
from bistil_ds.benchmarking.gpu.flags import ENTRY, Flags, interrupted_by_sigterm, plan
from bistil_ds.benchmarking.gpu.losses import comparison, pairs
from bistil_ds.benchmarking.gpu.parts import PARTS, Part
from bistil_ds.benchmarking.gpu.tables import REHEARSAL
from bistil_ds.benchmarking.harness.result_file import read_result
from bistil_ds.benchmarking.registry import BENCHMARKS
from bistil_ds.benchmarking.report.gathering import gather
from bistil_ds.errors import InputError

STATUSES = {"done", "skipped", "stopped", "failed"}


@pytest.fixture(scope="module", autouse=True)
def _server() -> None:
    """Start the server beforehand, since its imports may take longer than the time of a part in these tests."""
    start_server()


def run(name: str, folder: Path, seconds: float = 60.0) -> tuple[list[Event], dict[str, Any]]:
    """Run a part of `odd_parts`; return its events, and how it ended."""
    part = Part("x", "odd", f"stand_ins.odd_parts:{name}", 0.0)
    *events, last = [event for some in launch(part, seconds, folder, rehearsal=True) for event in some]
    return events, last["ended"]


def test_a_part_tells_what_it_finds_and_how_it_ends(tmp_path: Path) -> None:
    events, ended = run("finish", tmp_path)
    assert events == [{"finding": {"collected": 1}}, {"record": "record.json"}]
    assert ended == {"status": "done", "why": "", "error": []}


def test_a_part_that_cannot_run_is_skipped_with_a_word(tmp_path: Path) -> None:
    assert run("skip", tmp_path) == ([], {"status": "skipped", "why": "no such library", "error": []})


def test_the_last_lines_of_a_part_that_fails_are_kept_beside_what_it_found(tmp_path: Path) -> None:
    events, ended = run("fail", tmp_path)
    assert events == [{"finding": {"collected": 2}}]
    assert (ended["status"], ended["why"]) == ("failed", "ended with exit code 1")
    assert ended["error"][-2:] == ["ValueError: the seventh", "kernel"]
    assert not any(str(Path.cwd()) in line for line in ended["error"])


def test_a_crash_loses_nothing_that_was_found(tmp_path: Path) -> None:
    events, ended = run("crash", tmp_path)
    assert events == [{"finding": {"collected": 3}}]
    assert (ended["status"], ended["why"]) == ("failed", "was ended by SIGSEGV")
    assert any("Segmentation fault" in line for line in ended["error"])
    assert run("leave", tmp_path)[1]["why"] == "ended with exit code 3"


def test_a_part_ends_by_itself_or_is_interrupted_when_its_time_is_out(tmp_path: Path) -> None:
    for name in ("run_on", "sleep"):
        begun = time.monotonic()
        ended = run(name, tmp_path, seconds=6.0)[1]
        assert ended == {"status": "stopped", "why": "its time was out", "error": []}
        assert time.monotonic() - begun < 30


def test_a_part_that_hangs_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    begun = time.monotonic()
    events, ended = run("hang", tmp_path, seconds=6.0)
    assert ended["status"] == "failed"
    assert ended["why"] == "did not end when its time was out, and was killed"
    assert "waiting for the device" in ended["error"]
    assert time.monotonic() - begun < 30
    (pid,) = (event["finding"]["process"] for event in events)
    deadline = time.monotonic() + 20
    while _runs(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(pid)


def _runs(pid: int) -> bool:
    """Return whether a process runs; one that has ended but that nobody waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_sigterm_is_an_interruption() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), interrupted_by_sigterm():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_rehearsal_runs_every_part_and_leaves_a_page_and_seven_records(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--rehearse", "--minutes", "60", "--output_dir", str(tmp_path)]) == 0
    files = sorted(path.name for path in tmp_path.iterdir())
    assert len(files) <= 8
    (path,) = tmp_path.glob("gpu-quick-cpu-*.json")
    content = read_result(path)
    check_schema(content, tmp_path)
    rows = {row["part"]: row for row in content["rows"]}
    assert {key: row["status"] for key, row in rows.items()} == dict.fromkeys("abcdefg", "done")
    assert [found["name"] for found in rows["a"]["findings"]][1:] == ["copy bandwidth", "matrix products in float32"]
    assert len(rows["b"]["findings"]) == 7
    assert all(found["complaint"] is None for found in rows["b"]["findings"])
    compared = [found for found in rows["c"]["findings"] if "same" in found]
    assert [(found["zero"], found["same"]) for found in compared] == [(2, True), (3, True)]
    assert all(set(found["differences"].values()) == {0.0} for found in compared), "PyTorch is compared with itself"
    steps = [step for found in rows["c"]["findings"] for step in found.get("steps", ())]
    assert all(step["attention"] > 1e-3 for step in steps), "no maps are uniform, so that a wrong loss would show"
    benchmarks = {name.split("-")[0] for key in "def" for name in rows[key]["records"]}
    assert benchmarks == {"kernels", "throughput", "latency", "memory", "energy"}
    outcomes = {found["outcome"] for found in rows["g"]["findings"] if "test" in found}
    assert outcomes == {"skipped"}, "there is no GPU in a rehearsal"
    page = path.with_suffix(".md").read_text(encoding="utf-8")
    assert f"**{REHEARSAL}**" in page
    assert "ours, compiled" in page
    assert "ours, as a CUDA graph" in page
    assert len(page.splitlines()) < 200
    shown, left_out = gather(tmp_path, quick=True)
    assert {each.path.name for each in shown} == {name for name in files if name.endswith(".json")}
    assert not left_out
    assert REHEARSAL in capsys.readouterr().out


def check_schema(content: dict[str, Any], folder: Path) -> None:
    """Check that a run's record has the form that `docs/gpu.md` tells."""
    assert content["benchmark"] == "gpu"
    assert {"minutes", "parts", "quick"} <= set(content["arguments"])
    assert {"rows", "versions", "hardware", "git", "date", "machine_before", "machine_after"} <= set(content)
    for row, part in zip(content["rows"], PARTS, strict=True):
        assert set(row) == {*("part", "title", "status", "why", "budget", "seconds", "findings", "records", "error")}
        assert (row["part"], row["title"]) == (part.key, part.title)
        assert row["status"] in STATUSES
        assert row["budget"] >= part.needs
        assert 0 < row["seconds"] <= row["budget"] + 1
        assert all(isinstance(found, dict) for found in row["findings"])
        assert all((folder / name).is_file() for name in row["records"])
        assert all(isinstance(line, str) for line in row["error"])


def test_chosen_parts_run_alone_and_a_failed_one_makes_the_exit_code_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = [
        Part(part.key, part.title, f"stand_ins.odd_parts:{'crash' if part.key == 'd' else 'finish'}", 1.0)
        for part in PARTS
    ]
    monkeypatch.setattr("bistil_ds.benchmarking.gpu.flags.PARTS", odd)
    assert main(["--quick", "--parts", "g", "d", "--output_dir", str(tmp_path)]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "failed: part d: was ended by SIGSEGV"
    (path,) = tmp_path.glob("*.json")
    rows = read_result(path)["rows"]
    assert [(row["part"], row["status"]) for row in rows] == [("d", "failed"), ("g", "done")]
    assert "Segmentation fault" in path.with_suffix(".md").read_text()


@pytest.mark.parametrize(
    ("flags", "said"), [({"minutes": 0.1}, "--minutes 0.1: expected more than 10 seconds"), ({}, "there is no GPU")]
)
def test_what_cannot_run_is_refused_in_one_line(
    flags: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(InputError, match=said):
        plan(Flags(**flags))


def test_runs_are_the_same_if_each_value_of_each_step_is_within_the_tolerance() -> None:
    steps = [{"loss": 1.0, "attention": 1e-3}, {"loss": 2.0, "attention": 1e-4}]
    assert comparison(steps, [steps[0], {"loss": 2.02, "attention": 1e-4}])["same"] is True
    found = comparison(steps, [steps[0], {"loss": 2.0, "attention": 0.95e-4}])
    assert found == {"differences": {"loss": 0.0, "attention": pytest.approx(0.05 / 0.95)}, "same": False}
    for other in (steps[:1], [], [steps[0], {"loss": 2.0}], [steps[0], {**steps[1], "loss": float("nan")}]):
        assert comparison(steps, other) == {"differences": None, "same": False}
    assert comparison([], [])["same"] is False


def test_both_models_train_at_both_stages_with_pytorch_and_with_the_kernels() -> None:
    found = [(one.model, one.stage, one.kernels, other.kernels) for one, other in pairs(False, (2, 3))]
    models = ("mini", "XLM-R-base's shape")
    assert found == [(model, stage, "torch", "triton") for model in models for stage in (2, 3)]
    assert [(one.stage, other.stage) for one, other in pairs(False, (None,))] == [(None, None)] * 2


def test_the_program_runs_without_the_libraries_that_only_some_parts_need(tmp_path: Path) -> None:
    events, ended = run("import_without_some_libraries", tmp_path)
    assert ended["status"] == "done", ended
    assert events == [{"finding": {"missing": ["datasets", "deepspeed", "liger_kernel", "pyarrow"]}}]


def test_the_entry_is_that_of_the_registry() -> None:
    assert BENCHMARKS["gpu"] is ENTRY
