"""Measure the energy of a whole command, such as a training run."""

from __future__ import annotations

import shlex
import subprocess
from typing import Any

from bistil_ds.benchmarking.energy.measure import one_window, watts
from bistil_ds.benchmarking.energy.meter import Meter
from bistil_ds.errors import InputError


def measure_command(command: str, meter: Meter, idle_seconds: float) -> tuple[dict[str, Any], bool]:
    """Measure the idle power, then run a command; return (the command's row, whether Ctrl-C was pressed).

    The row has the command's seconds, joules and net joules. Net joules are those beyond the idle power; they are None
    if the meter only estimates. Ctrl-C reaches the command too; this function then waits until the command has ended.

    Raises:
        InputError: the command cannot be started; or its exit code is not 0 although Ctrl-C was not pressed.
    """
    idle = one_window(meter, None, idle_seconds)
    meter.begin()
    try:
        exit_code, interrupted = _run(command)
    finally:
        window = meter.end()
    if exit_code and not interrupted:
        raise InputError(f"--command {command!r}: ended with exit code {exit_code}")
    net = None if meter.is_estimate else window.total - watts(idle) * window.seconds
    row = {
        "command": f"{command} (interrupted)" if interrupted else command,
        "seconds": window.seconds,
        "joules": window.joules,
        "gross_joules": window.total,
        "net_joules": net,
        "idle_watts": watts(idle),
        "estimate": meter.is_estimate,
    }
    return row, interrupted


def _run(command: str) -> tuple[int, bool]:
    """Run the command and return its exit code, and whether Ctrl-C was pressed meanwhile."""
    try:
        process = subprocess.Popen(shlex.split(command))
    except (OSError, ValueError, IndexError) as error:
        raise InputError(f"--command {command!r}: cannot be started ({error})") from None
    try:
        return process.wait(), False
    except KeyboardInterrupt:
        return process.wait(), True
