"""Import the engines' packages when they are needed, quietly and without their telemetry."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from bistil_ds.errors import InputError
from bistil_ds.models.onnx_file import PACKAGES

EXTRAS = {"onnx": PACKAGES, "openvino": (*PACKAGES, "openvino", "nncf")}  # an OpenVINO model is made from an ONNX file
TELEMETRY = "openvino_telemetry"  # without this package, OpenVINO and NNCF send no usage data


def require_packages(extra: str, flag: str) -> None:
    """Raise InputError, which names `flag` and the extra, unless all packages of an extra in `EXTRAS` are installed."""
    if missing := missing_of(extra):
        raise InputError(f"{flag}: {', '.join(missing)} not installed; pip install 'bistil-ds[{extra}]'")


def missing_of(extra: str) -> list[str]:
    """Return the packages of an extra in `EXTRAS` that are not installed."""
    return [name for name in EXTRAS[extra] if find_spec(name) is None]


def openvino() -> ModuleType:
    """Return the package `openvino`."""
    with _undisturbed():
        return import_module("openvino")


@cache
def openvino_core() -> Any:
    """Return OpenVINO's `Core`, the same in each call, so that it lives as long as the process.

    Once OpenVINO 2026.4 has freed its last object that runs models, the next signal that Python handles, such as
    Ctrl-C, ends the process by a segmentation fault (seen on a CPU with AMX).
    """
    return openvino().Core()


def nncf() -> ModuleType:
    """Return the package `nncf`, which from then on logs errors only."""
    with _undisturbed():
        import_module("openvino")
        package = import_module("nncf")
    package.set_log_level(logging.ERROR)
    return package


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Hide the telemetry package while the block imports OpenVINO or NNCF, and keep the class of loggers.

    Both packages ask whether they may send usage data only in a terminal of their own tools; everywhere else they send
    it unasked. If the process has imported the telemetry package before, that was somebody's choice, and it stays.
    """
    hidden, kind = TELEMETRY not in sys.modules, logging.getLoggerClass()
    if hidden:
        sys.modules[TELEMETRY] = None  # type: ignore[assignment]  # the import system's way to say: not installed
    try:
        yield
    finally:
        if hidden:
            del sys.modules[TELEMETRY]
        logging.setLoggerClass(kind)
