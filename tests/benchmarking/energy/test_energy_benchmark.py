"""Energy of models from fake counters: the meter chosen, windows, wrapping, subtraction, nothing invented."""

from __future__ import annotations

import importlib.machinery
import json
import signal
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from benchmarks.energy import main
from bistil_ds.benchmarking.energy import measure as energy_measure
from bistil_ds.benchmarking.energy import meter as energy_meter
from bistil_ds.benchmarking.energy.command import measure_command
from bistil_ds.benchmarking.energy.measure import IDLE, UPDATES, measure, one_window, rows_of
from bistil_ds.benchmarking.energy.meter import CounterMeter, EstimatingMeter, ZeusMeter, find_meter
from bistil_ds.benchmarking.energy.tables import energy_grids, energy_plots
from bistil_ds.benchmarking.latency.measure import AGAIN, Plan
from bistil_ds.benchmarking.models.subject import Case
from bistil_ds.energy import Counter, Source
from bistil_ds.errors import InputError

CASE, CPU = Case(batch=2, length=10, threads=1), torch.device("cpu")
NAMES = ["mBERT", "mBERT k2 30k"]


class Machine:
    """A counter of 4 bits in millijoules, stepped by every reading, as a fast-moving one is by time."""

    def __init__(self, step: int = 3) -> None:
        self.count, self.step = 0, step

    def read(self) -> int:
        self.count = (self.count + self.step) % 16
        return self.count


class FakeMeter:
    """Draws `watts[what runs]`, for the seconds a window says it took."""

    name, is_estimate = "fake", False

    def __init__(self, power: dict[str, float], updates: int | None = UPDATES) -> None:
        self.power, self.updates, self.runs, self.seconds = power, updates, IDLE, 0.0

    def begin(self) -> None:
        self.runs, self.seconds = IDLE, 10.0

    def end(self) -> energy_meter.Window:
        return energy_meter.Window(self.seconds, {"package-0": self.power[self.runs] * self.seconds}, self.updates)


class FakeProcess:
    """Gets through 100 calls in a window."""

    meter: FakeMeter

    def __init__(self, make: object, name: str, *rest: object) -> None:
        self.name = name

    def call(self, method: str, *arguments: Any) -> Any:
        if method == "run_for":
            self.meter.runs = self.name
            return 100
        return None

    def __enter__(self) -> FakeProcess:
        return self

    def __exit__(self, *exception: object) -> None:
        pass


@pytest.fixture
def faked(monkeypatch: pytest.MonkeyPatch) -> FakeMeter:
    meter = FakeMeter({IDLE: 20.0, "mBERT": 60.0, "mBERT k2 30k": 40.0})
    monkeypatch.setattr(energy_measure, "InOwnProcess", FakeProcess)
    monkeypatch.setattr(FakeProcess, "meter", meter, raising=False)
    monkeypatch.setattr(energy_measure.time, "sleep", lambda seconds: None)
    return meter


def test_idle_power_is_subtracted_and_gross_is_kept(faked: FakeMeter) -> None:
    content: dict[str, Any] = {}
    plan = Plan(NAMES, [("eager", "float32")], [CASE], CPU, seconds=10.0)
    measure(plan, faked, 3, content, lambda done, what: None, lambda: None)
    rows = {row["model"]: row for row in content["rows"]}
    assert rows["mBERT"]["gross"] == pytest.approx(60 * 10 / 200)
    assert rows["mBERT"]["net"] == pytest.approx(40 * 10 / 200)
    assert rows["mBERT k2 30k"]["ratio"]["median"] == pytest.approx(20 / 40)
    assert rows["mBERT k2 30k" + AGAIN]["ratio"]["median"] == pytest.approx(1)
    assert len(content["idle"]) == len(rows["mBERT"]["windows"]) == 3


def test_a_window_goes_on_until_the_counter_has_moved_often_enough(faked: FakeMeter) -> None:
    faked.updates = 40
    process: Any = FakeProcess(None, "mBERT")
    window = one_window(faked, process, 10.0)
    assert window["updates"] == 120
    assert window["calls"] == 300
    assert window["seconds"] == 30
    faked.updates = None  # zeus does not tell
    assert one_window(faked, process, 10.0)["seconds"] == 10


def test_a_counter_that_wraps_during_a_window_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy_meter, "POLL_SECONDS", 0.001)
    machine = Machine()
    source = Source("package-0", machine.read, 1e-3, wraps_at=15)
    meter = CounterMeter(Counter([source]))
    meter.begin()
    time.sleep(0.1)
    window = meter.end()
    assert window.updates is not None
    assert window.updates > 15  # it went around several times
    assert window.total == pytest.approx(3e-3 * window.updates)
    assert meter.name == "counters: package-0"


def test_the_slowest_counter_decides_how_often_it_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy_meter, "POLL_SECONDS", 0.001)
    quick, still = Machine(), Machine(step=0)
    meter = CounterMeter(Counter([Source("a", quick.read, 1.0, 15), Source("b", still.read, 1.0, 15)]))
    meter.begin()
    time.sleep(0.02)
    window = meter.end()
    assert window.updates == 0
    assert window.joules["b"] == 0
    assert window.joules["a"] > 0


def pretend_zeus(monkeypatch: pytest.MonkeyPatch, measurement: object) -> None:
    class Monitor:
        def __init__(self, gpu_indices: list[int]) -> None:
            pass

        def begin_window(self, key: str) -> None:
            self.key = key

        def end_window(self, key: str) -> object:
            assert key == self.key
            if isinstance(measurement, Exception):
                raise measurement
            return measurement

    package, monitor = ModuleType("zeus"), ModuleType("zeus.monitor")
    package.__spec__ = importlib.machinery.ModuleSpec("zeus", None)
    monitor.ZeusMonitor = Monitor  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "zeus", package)
    monkeypatch.setitem(sys.modules, "zeus.monitor", monitor)


def test_zeus_is_used_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    found = SimpleNamespace(time=2.0, gpu_energy={0: 5.0}, cpu_energy={0: 3.0}, dram_energy=None)
    pretend_zeus(monkeypatch, found)
    meter = find_meter()
    assert isinstance(meter, ZeusMeter)
    meter.begin()
    window = meter.end()
    assert window.joules == {"GPU 0": 5.0, "package 0": 3.0}
    assert window.total == 8


def test_our_readers_serve_where_zeus_finds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_zeus(monkeypatch, RuntimeError("no device"))
    monkeypatch.setattr(energy_meter, "energy_counter", lambda: Counter([Source("package-0", lambda: 1, 1.0)]))
    monkeypatch.setattr(energy_meter, "energy_unavailable", lambda: None)
    assert isinstance(find_meter(), CounterMeter)


def test_without_any_counter_the_reasons_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_zeus(monkeypatch, RuntimeError("no device"))
    monkeypatch.setattr(energy_meter, "energy_counter", lambda: None)
    monkeypatch.setattr(energy_meter, "energy_unavailable", lambda: "unavailable: no RAPL counter")
    assert find_meter() == "unavailable: no RAPL counter; zeus: no device"


def test_the_command_says_unavailable_in_table_and_file_and_no_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("bistil_ds.benchmarking.energy.flags.find_meter", lambda: "unavailable: no RAPL counter")
    assert main(["--device", "cpu", "--output_dir", str(tmp_path)]) == 0
    (path,) = tmp_path.glob("energy-*.json")
    rows = json.loads(path.read_text())["rows"]
    assert len(rows) == 13
    assert all(set(row) == {"model", "unavailable"} for row in rows)
    assert "no RAPL counter" in capsys.readouterr().out


def test_an_estimate_is_made_on_request_only_and_says_so(
    faked: FakeMeter, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--device", "cpu", "--estimate_watts", "50", "--output_dir", str(tmp_path)]
    assert main(["--model", *NAMES, *flags]) == 0
    (path,) = tmp_path.glob("energy-*.json")
    content = json.loads(path.read_text())
    assert all(row["estimate"] and row["net"] is None for row in content["rows"])
    assert content["rows"][1]["ratio"]["median"] > 0
    out = capsys.readouterr().out
    assert "ESTIMATE" in out
    assert "net: without" not in out
    assert "ESTIMATE" in path.with_suffix(".svg").read_text()


def test_a_reference_that_takes_no_more_than_idling_has_no_ratio() -> None:
    def window(joules: float) -> dict[str, Any]:
        temperatures = {"temperature_before": [40.0], "temperature_after": [45.0]}
        return {"joules": {"p": joules}, "seconds": 1.0, "calls": 1, "updates": 100, **temperatures}

    windows = {IDLE: [window(5.0)], **{name: [window(4.0)] for name in [*NAMES, NAMES[1] + AGAIN]}}
    plan = Plan(NAMES, [], [CASE], CPU, 1.0)
    rows = rows_of(plan, CASE, windows, False)
    assert all("ratio" not in row for row in rows)
    content = {"rows": rows, "machine_before": {"load_average": [0]}, "hardware": {"threads": 2}}
    (grid,) = energy_grids(content)
    assert grid.rows[0][-2:] == ["reference not above idle", "40 to 45"]
    assert energy_plots(content) == []
    assert "over reference, range of 1" in grid.columns
    assert "windows of 1 s or more; the counter moved at least 100 times in each" in grid.note


def test_a_command_is_measured_whole(tmp_path: Path) -> None:
    row = measure_command(f"{sys.executable} -c 'import time; time.sleep(0.2)'", EstimatingMeter(10.0), 0.01)
    assert row["gross_joules"] == pytest.approx(10 * row["seconds"])
    assert row["seconds"] > 0.2
    assert row["net_joules"] is None
    with pytest.raises(InputError, match="exit code 3"):
        measure_command(f"{sys.executable} -c 'raise SystemExit(3)'", EstimatingMeter(1.0), 0.01)
    with pytest.raises(InputError, match="cannot be started"):
        measure_command("/no/such/program", EstimatingMeter(1.0), 0.01)


def test_an_interrupted_command_keeps_what_it_took() -> None:
    program = "import os, signal, time; os.kill(os.getppid(), signal.SIGINT); time.sleep(0.2); raise SystemExit(1)"
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a parallel test run ignores it
    try:
        row = measure_command(f"{sys.executable} -c '{program}'", EstimatingMeter(10.0), 0.01)
    finally:
        signal.signal(signal.SIGINT, before)
    assert row["command"].endswith("(interrupted)")
    assert row["gross_joules"] > 2
