"""Test that an object in a process of its own answers like one here, and that a lost process is told."""

from __future__ import annotations

import os

import pytest
from bistil_kernels.runtime.choice import chosen, using

from bistil_ds.benchmarking.harness.own_process import InOwnProcess, RemoteError


def test_a_process_that_is_gone_is_told_at_every_call() -> None:
    with InOwnProcess(os.kill, os.getpid(), 0) as process:
        process._process.kill()
        for _ in range(2):
            with pytest.raises(RemoteError, match="exit code -9"):
                process.call("anything")


def test_an_own_process_takes_over_the_choice_of_kernels() -> None:
    with using("torch"), InOwnProcess(chosen) as process:  # the served object is the name of the choice
        assert process.call("upper") == "TORCH"
