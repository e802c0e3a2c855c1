"""Parts of a GPU run that end in every way a part can end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from importlib import import_module

from bistil_ds.benchmarking.gpu.setting import Emit, Setting, Skip


def finish(setting: Setting, emit: Emit) -> None:
    print("what a part prints is shown only if it fails")
    emit.finding({"collected": 1})
    emit.record("record.json")


def skip(setting: Setting, emit: Emit) -> None:
    raise Skip("no such library")


def fail(setting: Setting, emit: Emit) -> None:
    emit.finding({"collected": 2})
    raise ValueError("the seventh\nkernel")


def crash(setting: Setting, emit: Emit) -> None:
    emit.finding({"collected": 3})
    os.kill(os.getpid(), signal.SIGSEGV)


def leave(setting: Setting, emit: Emit) -> None:
    os._exit(3)


def run_on(setting: Setting, emit: Emit) -> None:
    """Go on until the time is out, as a benchmark with many cases does."""
    while True:
        setting.check_time()
        time.sleep(0.01)


def sleep(setting: Setting, emit: Emit) -> None:
    """Miss the end of the time; an interruption ends this."""
    time.sleep(60)


def hang(setting: Setting, emit: Emit) -> None:
    """Ignore interruptions, with a process of its own that does so too; only killing ends both."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    program = (
        "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print('x', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-S", "-c", program], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    emit.finding({"process": process.pid})
    print("waiting for the device", flush=True)
    time.sleep(60)


def import_without_some_libraries(setting: Setting, emit: Emit) -> None:
    """Import what the command imports where some libraries cannot be imported; the server has not imported them."""
    missing = ["datasets", "deepspeed", "liger_kernel", "pyarrow"]
    assert not set(missing[:-1]) & set(sys.modules)  # while a library of others may have imported pyarrow
    sys.modules |= dict.fromkeys(missing)
    for name in ("checks", "flags", "gpu_tests", "losses", "rates", "records", "steps"):
        import_module(f"bistil_ds.benchmarking.gpu.{name}")
    for name in ("latency", "memory", "energy", "kernels"):
        import_module(f"bistil_ds.benchmarking.{name}.flags")
    emit.finding({"missing": missing})
