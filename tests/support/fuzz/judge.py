"""Give one input to its reader, and judge what comes of it: accepted, refused, or a finding."""

from __future__ import annotations

import re
import shutil
import signal
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from bistil_ds.errors import InputError
from fuzz.case import Case
from fuzz.family import Family

LONGEST = 10.0  # seconds of processor time for one input
LARGEST, TIMES = 512 * 2**20, 20  # bytes by which memory may grow: so many, and so many for each byte of the input
ACCEPTED, REFUSED, FOUND = "accepted", "refused", "found"


class HungError(BaseException):
    """An input took longer than `LONGEST`. It is no Exception, so that no reader catches it."""


@dataclass(frozen=True)
class Verdict:
    """What came of an input.

    Args:
        outcome: ACCEPTED, REFUSED or FOUND.
        seconds: the processor time that it took.
        grown: bytes by which the process was larger at its peak than before.
        where: of a finding, its kind: the error and the place that raised it.
        said: of a finding, the traceback.
    """

    outcome: str
    seconds: float
    grown: int
    where: str = ""
    said: str = ""


def judge(family: Family, case: Case, folder: Path, longest: float = LONGEST, largest: int = LARGEST) -> Verdict:
    """Write an input's files to a new folder, let its reader read them, and remove the folder."""
    folder.mkdir(parents=True)
    case.write(folder)
    outcome, where, said, before = ACCEPTED, "", "", _memory_now()
    _forget_peak()
    started = time.process_time()
    try:
        with _at_most(longest), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            family.run(folder, case.about)
    except InputError as error:
        outcome = REFUSED
        if not str(error).strip():
            outcome, where = FOUND, "refused without a word"
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a panic in Rust is no Exception
        outcome, where = FOUND, f"{_place_of(error)} {case.kind}".strip()
        said = "".join(traceback.format_exception(error))[-4000:]
    seconds, grown = time.process_time() - started, max(_peak() - before, 0)
    shutil.rmtree(folder, ignore_errors=True)
    if outcome != FOUND and grown > largest + TIMES * case.size:
        outcome, where = FOUND, f"memory grew by {grown / 2**20:,.0f} MiB"
    return Verdict(outcome, seconds, grown, where, said)


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Raise HungError if the block takes longer, measured in this process's time on the processor."""

    def end(number: int, frame: FrameType | None) -> None:
        raise HungError(f"over {seconds:g} s")

    before = signal.signal(signal.SIGPROF, end)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _place_of(error: BaseException) -> str:
    """Return the error's type, and the innermost function of the package that it passed through, or of any file."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/bistil_ds/" in frame.filename] or list(frames)
    return f"{type(error).__name__} in {Path(ours[-1].filename).name}, {ours[-1].name}"


def _memory_now() -> int:
    return _status("VmRSS")


def _peak() -> int:
    return _status("VmHWM")


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again at what is used now


def _status(name: str) -> int:
    """Return a value of this process in bytes, as the kernel tells it."""
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024
