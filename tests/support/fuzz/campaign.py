"""Many inputs of all families, in rounds: each round is a process of its own, with an address space that is bounded."""

from __future__ import annotations

import faulthandler
import hashlib
import multiprocessing
import os
import pickle
import resource
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from unittest.mock import patch

from hypothesis import HealthCheck, Phase, given, seed, settings

from fuzz.case import Case
from fuzz.family import Family
from fuzz.judge import ACCEPTED, FOUND, LONGEST, REFUSED, Verdict, judge

ROUND = 1000  # inputs
SPACE = 4 * 2**30  # bytes by which a round may grow
SILENT = 120.0  # seconds after which a round that tells nothing is killed: it waits, or cannot be interrupted
CURRENT, TRACE = "current.pickle", "trace.txt"
DATASETS = (("HF", "CACHE"), ("DOWNLOADED", "PATH"), ("EXTRACTED", "PATH"))  # folders of the library `datasets`
MEMORY = "/dev/shm"  # files that live in memory: a hundred thousand small ones keep a disk busy
OURS = 70  # exit code of a round that failed by itself


@dataclass
class Tally:
    """What came of a family's inputs.

    Args:
        slowest, largest: seconds, or bytes that memory grew by, of the worst input.
        findings: kind of finding → the smallest input, and its traceback.
    """

    family: str
    inputs: int = 0
    accepted: int = 0
    refused: int = 0
    found: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    largest: int = 0
    findings: dict[str, tuple[Case, str]] = field(default_factory=dict)

    def add(self, verdict: Verdict, case: Case) -> None:
        """Count one more input."""
        self.inputs += 1
        self.accepted += verdict.outcome == ACCEPTED
        self.refused += verdict.outcome == REFUSED
        self.found += verdict.outcome == FOUND
        self.seconds += verdict.seconds
        self.slowest, self.largest = max(self.slowest, verdict.seconds), max(self.largest, verdict.grown)
        if verdict.outcome == FOUND:
            self._keep(verdict.where, case, verdict.said)

    def merge(self, other: Tally) -> None:
        """Add the counts of another round."""
        for name in ("inputs", "accepted", "refused", "found", "seconds"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.slowest, self.largest = max(self.slowest, other.slowest), max(self.largest, other.largest)
        for where, (case, said) in other.findings.items():
            self._keep(where, case, said)

    def _keep(self, where: str, case: Case, said: str) -> None:
        if where not in self.findings or case.size < self.findings[where][0].size:
            self.findings[where] = case, said

    def row(self) -> dict[str, Any]:
        """Return the counts, without the findings' inputs."""
        return {
            **{name: value for name, value in asdict(self).items() if name != "findings"},
            "kinds": list(self.findings),
        }


def drive(family: Family, number: int, inputs: int, each: Callable[[Case], object]) -> None:
    """Draw inputs by a seed, and call `each` with them."""

    @seed(number)
    @settings(
        max_examples=inputs,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=family.cases())
    def run(case: Case) -> None:
        each(case)

    run()


def try_here(family: Family, number: int, inputs: int, folder: Path, longest: float = LONGEST) -> Tally:
    """Judge inputs in this process; one that takes more than `longest` seconds of CPU time hangs."""
    tally = Tally(family.name)
    drive(family, number, inputs, lambda case: tally.add(judge(family, case, folder / "case", longest), case))
    return tally


def try_apart(family: Family, number: int, inputs: int, folder: Path) -> Tally:
    """Judge inputs in a process of their own; if an input ends it or cannot be interrupted, that is a finding.

    The inputs after that one are left out.

    Raises:
        RuntimeError: the round failed by itself.
    """
    told, telling = multiprocessing.Pipe(duplex=False)
    process = os.fork()
    if not process:
        told.close()
        _be_round(family, number, inputs, folder, telling)
    telling.close()
    tally = Tally(family.name)
    with told, suppress(EOFError):
        while not (hung := not told.poll(SILENT)):
            tally = told.recv()
    if hung:
        os.kill(process, signal.SIGABRT)  # upon which Python writes where it is
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if code:
        trace = (folder / TRACE).read_text().partition("\n\nExtension modules")[0][:4000]
        if code == OURS or not (folder / CURRENT).exists():
            raise RuntimeError(f"a round of {family.name} failed outside of an input:\n{trace}")
        case = pickle.loads((folder / CURRENT).read_bytes())
        where = f"no answer for {SILENT:g} s" if hung else f"the process ended with {code}"
        tally.add(Verdict(FOUND, SILENT if hung else 0.0, 0, where, trace), case)
    return tally


def _be_round(family: Family, number: int, inputs: int, folder: Path, telling: Connection) -> None:
    """Judge inputs in a forked process, tell the counts now and then, and never return."""
    code, told = OURS, time.monotonic()
    tally = Tally(family.name)

    def each(case: Case) -> None:
        nonlocal told
        (folder / CURRENT).write_bytes(pickle.dumps(case))
        tally.add(judge(family, case, folder / "case"), case)
        (folder / CURRENT).unlink()
        if time.monotonic() - told > 1:
            telling.send(tally)
            told = time.monotonic()

    try:
        faulthandler.enable((folder / TRACE).open("w"))
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (_space() + SPACE, hard))
        drive(family, number, inputs, each)
        telling.send(tally)
        code = 0
    except BaseException:
        (folder / TRACE).write_text(traceback.format_exc())
    finally:
        os._exit(code)


def _space() -> int:
    """Return the size of this process's address space in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def campaign(
    families: Sequence[Family], inputs: int, number: int, try_round: Callable[..., Tally] = try_apart
) -> Iterator[Tally]:
    """Yield the counts of each family, after each of its rounds; each has its share of the inputs, a round in turn."""
    whole = sum(family.share for family in families)
    totals = {family.name: Tally(family.name) for family in families}
    wanted = {family.name: round(inputs * family.share / whole) for family in families}
    parent = MEMORY if os.path.isdir(MEMORY) else None
    with tempfile.TemporaryDirectory(prefix="bistil-fuzz-", dir=parent) as name, _elsewhere(Path(name) / "home"):
        for at in count():
            left = [family for family in families if totals[family.name].inputs < wanted[family.name]]
            if not left:
                return
            for family in left:
                total, place = totals[family.name], Path(name) / f"{family.name}-{at}"
                place.mkdir()
                drawn = hashlib.sha256(f"{number} {family.name} {at}".encode()).digest()
                drawn_number = int.from_bytes(drawn[:4], "little")
                total.merge(try_round(family, drawn_number, min(ROUND, wanted[family.name] - total.inputs), place))
                shutil.rmtree(place, ignore_errors=True)
                yield total


@contextmanager
def _elsewhere(home: Path) -> Iterator[None]:
    """Keep the user's own folders, and the current one, out of what is tried."""
    home.mkdir()
    folders = {"HOME": home, "XDG_CONFIG_HOME": home / "config", "XDG_CACHE_HOME": home / "cache"}
    others = {"BISTIL_CACHE": str(home / "cache"), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    of_datasets = {f"{name}_DATASETS_{what}": home / name for name, what in DATASETS}
    with (
        patch.dict(os.environ, {**{name: str(path) for name, path in folders.items()}, **others}),
        patch.multiple("datasets.config", **of_datasets),
        chdir(home),
    ):
        yield


def keep(tally: Tally, folder: Path) -> list[Path]:
    """Write the input of each kind of finding into a folder; return the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for where, (case, said) in tally.findings.items():
        name = hashlib.sha256(f"{case.family} {where}".encode()).hexdigest()[:8]
        paths.append(folder / f"{case.family.replace(' ', '_')}-{name}.json")
        case.save(paths[-1], where=where, said=said)
    return paths


def in_words(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the counts of a campaign as they stand in docs/reliability.md."""
    total = {name: sum(row[name] for row in rows) for name in ("inputs", "accepted", "refused", "found")}
    slowest, largest = (max(row[name] for row in rows) for name in ("slowest", "largest"))
    return (
        f"{total['inputs']:,} inputs of {len(rows)} families, {total['accepted']:,} accepted, {total['refused']:,} "
        f"refused, {total['found']} findings; the slowest took {slowest:.1f} s, and memory grew by "
        f"{largest / 2**20:,.0f} MiB at most"
    )
