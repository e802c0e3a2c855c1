"""Test the energy benchmark: the choice of meter, windows, counters that wrap, and the subtraction of idle power."""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import write_teacher

from benchmarks.energy import main
from bistil_ds.benchmarking.energy import meter as energy_meter
from bistil_ds.benchmarking.energy.command import measure_command
from bistil_ds.benchmarking.energy.measure import IDLE, UPDATES, one_window, rows_of
from bistil_ds.benchmarking.energy.meter import CounterMeter, EstimatingMeter, Window, ZeusMeter, find_meter
from bistil_ds.benchmarking.energy.tables import energy_grids, energy_plots
from bistil_ds.benchmarking.models.plan import AGAIN, MeasurementPlan
from bistil_ds.benchmarking.models.subject import InputCase
from bistil_ds.errors import InputError
from bistil_ds.training.energy import Counter, Source

rapl_is_available = pytest.importorskip("zeus.device.cpu.rapl").rapl_is_available

CASE, CPU, GPU = InputCase(batch=2, length=10, threads=1), torch.device("cpu"), torch.device("cuda:0")
NAMES = ["mBERT", "mBERT k2 30k"]
PLAN = MeasurementPlan(NAMES, [], [CASE], CPU, 1.0)


class Machine:
    """A 4-bit counter in millijoules; every reading advances it, as time advances a fast counter."""

    def __init__(self, step: int = 3) -> None:
        self.count, self.step = 0, step

    def read(self) -> int:
        self.count = (self.count + self.step) % 16
        return self.count


class SlowMeter:
    """A meter that reports windows of 10 s in which its counter moved `updates` times."""

    name, is_estimate = "slow", False

    def __init__(self, updates: int | None) -> None:
        self.updates, self.begun = updates, 0

    def begin(self) -> None:
        self.begun += 1

    def end(self) -> Window:
        return Window(10.0, {"package-0": 200.0}, self.updates)


def window(joules: float, calls: int = 100) -> dict[str, Any]:
    temperatures = {"temperature_before": [40.0], "temperature_after": [45.0]}
    return {"joules": {"package-0": joules}, "seconds": 10.0, "calls": calls, "updates": UPDATES, **temperatures}


def rows_for(watts: dict[str, float], rounds: int = 3) -> list[dict[str, Any]]:
    """Return rows of windows in which a subject draws `watts[subject]`, growing by a tenth from round to round."""
    windows = {
        name: [window(10 * power * 1.1**round_, 0 if name == IDLE else 100) for round_ in range(rounds)]
        for name, power in watts.items()
    }
    return rows_of(PLAN, CASE, windows, False)


def test_idle_power_is_subtracted_and_gross_is_kept() -> None:
    watts = {IDLE: 20.0, NAMES[0]: 60.0, NAMES[1]: 40.0, NAMES[1] + AGAIN: 40.0}
    whole, half, again = rows_for(watts, rounds=1)
    assert whole["gross"] == pytest.approx(60 * 10 / 200)
    assert whole["net"] == pytest.approx(40 * 10 / 200)
    assert half["ratio"]["median"] == pytest.approx(20 / 40)
    assert again["ratio"]["median"] == pytest.approx(1)
    assert (again["control"], again["reference"]) == (True, NAMES[1])


def test_idle_power_is_the_mean_of_all_its_windows() -> None:
    rows = rows_for({IDLE: 20.0, NAMES[0]: 60.0, NAMES[1]: 40.0, NAMES[1] + AGAIN: 40.0})
    assert rows[0]["idle_watts"] == pytest.approx(20 * (1 + 1.1 + 1.21) / 3)
    assert rows[1]["ratio"]["low"] < rows[1]["ratio"]["median"] < rows[1]["ratio"]["high"]


def test_a_window_goes_on_until_the_counter_has_moved_often_enough() -> None:
    meter = SlowMeter(updates=40)
    found = one_window(meter, None, 0.0)
    assert meter.begun == 3
    assert found["updates"] == 120
    assert found["seconds"] == 30
    assert found["joules"] == {"package-0": 600}
    # zeus does not report updates, so one window has to do
    assert one_window(SlowMeter(updates=None), None, 0.0)["seconds"] == 10


def test_a_counter_that_wraps_during_a_window_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy_meter, "POLL_SECONDS", 0.001)
    machine = Machine()
    source = Source("package-0", machine.read, 1e-3, wraps_at=15)
    meter = CounterMeter(Counter([source]))
    meter.begin()
    while source.updates <= 15:  # the 4-bit counter goes round at least twice
        time.sleep(0.001)
    window = meter.end()
    assert window.updates is not None
    assert window.updates > 15
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


def write_powercap(folder: Path) -> Path:
    """Write the files by which Linux presents a processor with one energy counter; return the counter's file."""
    domain = folder / "intel-rapl:0"
    domain.mkdir(parents=True)
    for name, text in {"name": "package-0", "energy_uj": "1000000", "max_energy_range_uj": "262143328850"}.items():
        (domain / name).write_text(text)
    return domain / "energy_uj"


def use_zeus_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rapl_is_available.cache_clear()
    monkeypatch.setattr("zeus.device.cpu.rapl.RAPL_DIR", str(folder))
    monkeypatch.setattr("zeus.device.cpu._cpus", None)  # zeus caches the processors that it found


def test_zeus_is_used_where_it_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counter = write_powercap(tmp_path / "intel-rapl")
    use_zeus_on(tmp_path / "intel-rapl", monkeypatch)

    class Running(ZeusMeter):
        """A meter whose processor uses a quarter of a joule while zeus looks for its counter."""

        def begin(self) -> None:
            super().begin()
            counter.write_text(str(int(counter.read_text()) + 250_000))

    monkeypatch.setattr(energy_meter, "ZeusMeter", Running)
    meter = find_meter(CPU)
    assert isinstance(meter, ZeusMeter)
    meter.begin()
    counter.write_text(str(int(counter.read_text()) + 2_500_000))
    found = meter.end()
    assert found.joules == {"package 0": pytest.approx(2.75)}
    assert found.updates is None
    assert found.seconds > 0
    assert find_meter(GPU) == "unavailable: zeus: no GPU counter", "the processor's counter does not cover a GPU"


def test_our_readers_serve_where_zeus_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy_meter, "zeus_is_installed", lambda: False)
    monkeypatch.setattr(energy_meter, "energy_counter", lambda _: Counter([Source("package-0", lambda: 1, 1.0)]))
    assert isinstance(find_meter(CPU), CounterMeter)
    monkeypatch.setattr(energy_meter, "energy_counter", lambda _: None)
    monkeypatch.setattr(energy_meter, "energy_unavailable", lambda device: f"unavailable: no counter of {device}")
    assert find_meter(GPU) == "unavailable: no counter of cuda:0"


def test_where_zeus_finds_nothing_nothing_else_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_zeus_on(tmp_path / "absent", monkeypatch)
    monkeypatch.setattr(energy_meter, "energy_counter", lambda _: Counter([Source("package-0", lambda: 1, 1.0)]))
    assert find_meter(CPU) == "unavailable: zeus: no package counter"


def test_the_command_says_unavailable_in_table_and_file_and_no_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("bistil_ds.benchmarking.energy.flags.find_meter", lambda _: "unavailable: no RAPL counter")
    assert main(["--device", "cpu", "--output_dir", str(tmp_path)]) == 0
    (path,) = tmp_path.glob("energy-*.json")
    rows = json.loads(path.read_text())["rows"]
    assert len(rows) == 13
    assert all(set(row) == {"model", "unavailable"} for row in rows)
    assert "no RAPL counter" in capsys.readouterr().out


def test_an_estimate_is_made_on_request_only_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [str(write_teacher(tmp_path / f"{layers} layers", layers=layers)) for layers in (8, 2)]
    flags = ["--estimate_watts", "50", "--seconds", "0.3", "--rounds", "1", "--length", "16", "--device", "cpu"]
    assert main(["--model", *folders, *flags, "--output_dir", str(tmp_path / "out")]) == 0
    (path,) = (tmp_path / "out").glob("energy-*.json")
    content = json.loads(path.read_text())
    assert all(row["estimate"] and row["net"] is None for row in content["rows"])
    deep, shallow, _ = content["rows"]
    assert shallow["gross"] == pytest.approx(50 * shallow["windows"][0]["seconds"] / sentences(shallow), rel=1e-4)
    assert shallow["ratio"]["median"] == pytest.approx(shallow["gross"] / deep["gross"], rel=1e-4)
    assert content["idle"][0]["calls"] == 0
    out = capsys.readouterr().out
    assert "ESTIMATE" in out
    assert "net: without" not in out
    assert "ESTIMATE" in path.with_suffix(".svg").read_text()


def sentences(row: dict[str, Any]) -> int:
    return int(row["batch"] * row["windows"][0]["calls"])


def test_a_reference_that_takes_no_more_than_idling_has_no_ratio() -> None:
    rows = rows_for({IDLE: 5.0, **dict.fromkeys([*NAMES, NAMES[1] + AGAIN], 4.0)}, rounds=1)
    assert all("ratio" not in row for row in rows)
    content = {"rows": rows, "machine_before": {"load_average": [0]}, "hardware": {"threads": 2}}
    (grid,) = energy_grids(content)
    assert grid.rows[0][-2:] == ["reference not above idle", "40 to 45"]
    assert energy_plots(content) == []
    assert "over reference, no interval" in grid.columns
    assert f"windows of 10 s or more; the counter moved at least {UPDATES} times in each" in grid.note


def test_a_command_is_measured_whole(tmp_path: Path) -> None:
    program = f"{sys.executable} -c 'import time; time.sleep(0.2)'"
    row, interrupted = measure_command(program, EstimatingMeter(10.0), 0.01)
    assert not interrupted
    assert row["gross_joules"] == pytest.approx(10 * row["seconds"])
    assert row["seconds"] > 0.2
    assert row["net_joules"] is None
    with pytest.raises(InputError, match="exit code 3"):
        measure_command(f"{sys.executable} -c 'raise SystemExit(3)'", EstimatingMeter(1.0), 0.01)
    with pytest.raises(InputError, match="cannot be started"):
        measure_command("/no/such/program", EstimatingMeter(1.0), 0.01)


def test_an_interrupted_command_keeps_what_it_took_and_the_interruption_goes_on(tmp_path: Path) -> None:
    program = (
        "import os, signal, time; time.sleep(0.5); os.kill(os.getppid(), signal.SIGINT); time.sleep(0.2);"
        "raise SystemExit(1)"
    )
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a parallel test run may ignore SIGINT
    try:
        flags = ["--estimate_watts", "10", "--seconds", "0.01", "--output_dir", str(tmp_path)]
        assert main([*flags, "--command", f"{sys.executable} -c '{program}'"]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    (path,) = tmp_path.glob("energy-*.json")
    content = json.loads(path.read_text())
    (row,) = content["rows"]
    assert content["interrupted"]
    assert row["command"].endswith("(interrupted)")
    assert row["gross_joules"] > 2
