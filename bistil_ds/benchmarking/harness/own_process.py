"""Hold an object in a process of its own and call its methods from this process, or run a function there."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, SpawnContext
from types import TracebackType
from typing import Any

from bistil_kernels.runtime.choice import VARIABLE, chosen, use, using

from bistil_ds.errors import InputError

CLOSING_SECONDS = 10
PRELOADED = ["torch", "transformers", "bistil_kernels", "bistil_ds.benchmarking.models.subject"]


def fresh_processes() -> ForkServerContext | SpawnContext:
    """Return the multiprocessing context that starts processes without a copy of this process's memory.

    The processes start quickly, as forks of a server process that has only imported PRELOADED. On platforms without a
    fork server they are spawned.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


class RemoteError(RuntimeError):
    """Failure in another process: its object could not be made, a method raised an error, or the process ended."""


@contextmanager
def serve_everywhere(kernels: str) -> Iterator[None]:
    """Make a choice of kernels (see `bistil_kernels.use`) for this process and for commands that it starts."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = kernels
    try:
        with using(kernels):
            yield
    finally:
        os.environ.pop(VARIABLE, None)
        os.environ.update({} if before is None else {VARIABLE: before})


@contextmanager
def blame_flag(flag: str) -> Iterator[None]:
    """Turn a RemoteError into an InputError about `flag`."""
    try:
        yield
    except RemoteError as error:
        raise InputError(f"{flag}: {error}") from None


class InOwnProcess:
    """A fresh process that holds the object `make(*arguments)`; `make` and the arguments must pickle.

    Ctrl-C interrupts the calling process only; the fresh one runs until the caller closes it.

    Raises:
        RemoteError: the object cannot be made.
    """

    def __init__(self, make: Callable[..., object], *arguments: object) -> None:
        context = fresh_processes()
        self._pipe, other_end = context.Pipe()
        self._process = context.Process(target=_serve, args=(other_end, chosen(), make, arguments), daemon=True)
        self._idle = False
        self._process.start()
        other_end.close()
        self._receive()

    def call(self, method: str, *arguments: object) -> Any:
        """Call a method of the object in its process and return the result; raise RemoteError if the method fails."""
        self._idle = False
        return self._receive((method, arguments))

    def _receive(self, question: object = None) -> Any:
        try:
            if question is not None:
                self._pipe.send(question)
            error, value = self._pipe.recv()
        except (EOFError, OSError):  # the process has ended
            self._process.join()
            raise RemoteError(f"the process ended by itself (exit code {self._process.exitcode})") from None
        self._idle = True
        if error is not None:
            raise RemoteError(error)
        return value

    def close(self) -> None:
        """End the process. An idle one has CLOSING_SECONDS to end by itself; a busy one is terminated at once."""
        self._pipe.close()
        self._process.join(CLOSING_SECONDS if self._idle else 0)
        self._process.terminate()
        self._process.join()

    def __enter__(self) -> InOwnProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def run_in_own_process(function: Callable[..., Any], *arguments: object) -> Any:
    """Return the result of `function(*arguments)` in a fresh process; function, arguments and result must pickle."""
    with InOwnProcess(_Caller) as process:
        return process.call("run", function, arguments)


class _Caller:
    def run(self, function: Callable[..., Any], arguments: tuple[object, ...]) -> Any:
        return function(*arguments)


def _serve(pipe: Connection, kernels: str, make: Callable[..., object], arguments: tuple[object, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.disable(logging.WARNING)  # warnings of model exporters would break the progress bar
    try:
        use(kernels)  # a fork server may have been started under another choice
        served = make(*arguments)
        pipe.send((None, None))
        while True:
            method, arguments = pipe.recv()
            try:
                pipe.send((None, getattr(served, method)(*arguments)))
            except Exception as error:
                pipe.send((_line(error), None))
    except EOFError:  # the caller has closed the pipe
        return
    except Exception as error:
        pipe.send((_line(error), None))


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]
