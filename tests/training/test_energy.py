"""Test energy counters: what they count, across a wrap-around too, and the reason given where there is no counter."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from bistil_ds.training import energy
from bistil_ds.training.energy import Counter, Source, energy_counter, energy_unavailable, rapl_sources

rapl_is_available = pytest.importorskip("zeus.device.cpu.rapl").rapl_is_available

CPU, GPU = torch.device("cpu"), torch.device("cuda:0")


@pytest.fixture
def without_zeus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "zeus_is_installed", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture
def with_zeus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let zeus read the RAPL files in `tmp_path`, without the process by which it follows counters that wrap."""
    rapl_is_available.cache_clear()
    monkeypatch.setattr("zeus.device.cpu.rapl.RAPL_DIR", str(tmp_path))
    monkeypatch.setattr("zeus.device.cpu._cpus", None)
    monkeypatch.setattr("zeus.device.cpu.rapl.RaplWraparoundTracker.__init__", lambda *_: None)
    monkeypatch.setattr("zeus.device.cpu.rapl.RaplWraparoundTracker.get_num_wraparounds", lambda _: 0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def add_domain(powercap: Path, folder: str, name: str, microjoules: int, wraps_at: int = 999_999) -> Path:
    domain = powercap / folder
    domain.mkdir()
    (domain / "name").write_text(f"{name}\n")
    (domain / "max_energy_range_uj").write_text(f"{wraps_at}\n")
    (domain / "energy_uj").write_text(f"{microjoules}\n")
    return domain / "energy_uj"


def test_packages_add_up_and_their_parts_do_not_count_twice(tmp_path: Path) -> None:
    first = add_domain(tmp_path, "intel-rapl:0", "package-0", 100)
    second = add_domain(tmp_path, "intel-rapl:1", "package-1", 200)
    core = add_domain(tmp_path, "intel-rapl:0:0", "core", 50)
    counter = Counter(rapl_sources(tmp_path)[0])
    assert counter.measures == "package-0, package-1"
    for file, value in ((first, 300_100), (second, 500_200), (core, 900_000)):
        file.write_text(str(value))
    assert counter.joules() == pytest.approx(0.8)


def test_memory_counts_beside_its_package(tmp_path: Path) -> None:
    package = add_domain(tmp_path, "intel-rapl:1", "package-1", 0)
    memory = add_domain(tmp_path, "intel-rapl:1:0", "dram", 0)
    counter = Counter(rapl_sources(tmp_path)[0])
    assert counter.measures == "package-1, dram-1"
    package.write_text("400000")
    memory.write_text("100000")
    assert counter.joules() == pytest.approx(0.5)
    assert counter.joules() == pytest.approx(0.5)
    assert [source.updates for source in counter.sources] == [1, 1]


def test_a_counter_that_wraps_goes_on_counting(tmp_path: Path) -> None:
    file = add_domain(tmp_path, "intel-rapl:0", "package-0", 900_000)
    counter = Counter(rapl_sources(tmp_path)[0])
    readings = []
    for value in (999_999, 0, 400_000, 399_999):
        file.write_text(str(value))
        readings.append(counter.joules())
    assert readings == pytest.approx([0.099999, 0.1, 0.5, 1.499999])


def test_units_follow_the_source() -> None:
    counts = iter([5, 2005])
    assert Counter([Source("GPU 0", lambda: next(counts), 1e-3)]).joules() == pytest.approx(2.0)


def test_an_unreadable_counter_gives_a_reason_not_a_number(tmp_path: Path) -> None:
    add_domain(tmp_path, "intel-rapl:0", "package-0", 1).write_text("")
    sources, reason = rapl_sources(tmp_path)
    assert sources == []
    assert reason is not None
    assert reason.startswith("RAPL cannot be read")
    assert rapl_sources(tmp_path / "absent") == ([], "no RAPL counter")


@pytest.mark.usefixtures("without_zeus")
def test_a_machine_without_counters_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("bistil_ds.training.energy.rapl_sources", lambda: rapl_sources(tmp_path))
    assert energy_counter(CPU) is None
    assert energy_unavailable(CPU) == "unavailable: no RAPL counter"
    assert energy_unavailable(GPU) == "unavailable: no NVIDIA GPU"


def test_amds_gpus_are_left_to_zeus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.version, "hip", "7.0")
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert energy.gpu_sources() == ([], "the counter of an AMD GPU needs the package zeus")


@pytest.mark.usefixtures("without_zeus")
def test_a_counter_of_another_device_gives_no_figure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    gpu = [Source("GPU 0", lambda: 1, 1.0)]
    package = add_domain(tmp_path, "intel-rapl:0", "package-0", 1)
    monkeypatch.setattr(energy, "rapl_sources", lambda: rapl_sources(tmp_path))
    assert measures(CPU) == "package-0"
    assert energy_unavailable(CPU) is None
    assert energy_unavailable(GPU) == "unavailable: no NVIDIA GPU"
    assert energy_counter(GPU) is None
    monkeypatch.setattr(energy, "gpu_sources", lambda: (gpu, None))
    assert measures(GPU) == "GPU 0, package-0"
    assert measures(CPU) == "package-0", "an idle GPU does not count"
    package.write_text("")
    assert measures(GPU) == "GPU 0"
    assert energy_counter(CPU) is None
    assert str(energy_unavailable(CPU)).startswith("unavailable: RAPL cannot be read")


def measures(device: torch.device) -> str:
    counter = energy_counter(device)
    assert counter is not None
    return counter.measures


@pytest.mark.usefixtures("with_zeus")
def test_where_zeus_is_installed_it_is_the_only_reader(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = add_domain(tmp_path, "intel-rapl:0", "package-0", 1000)
    memory = add_domain(package.parent, "intel-rapl:0:0", "dram", 2000)
    for reader in ("gpu_sources", "rapl_sources"):
        monkeypatch.delattr(energy, reader)  # ours are not even asked
    counter = energy_counter(CPU)
    assert counter is not None
    assert counter.measures == "package-0, dram-0"
    package.write_text("401000")
    memory.write_text("102000")
    assert counter.joules() == pytest.approx(0.5)
    assert energy_unavailable(CPU) is None
    assert str(energy_unavailable(GPU)).startswith("unavailable: zeus: NVML and AMDSMI unavailable")


@pytest.mark.usefixtures("with_zeus")
def test_where_zeus_finds_nothing_it_says_so(tmp_path: Path) -> None:
    assert energy_counter(CPU) is None
    assert energy_unavailable(CPU) == "unavailable: zeus: no package counter"
