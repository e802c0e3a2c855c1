"""Test on what a measured model is calibrated, and what it tells of itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import tiny
import torch

from bistil_ds.benchmarking.models import subject as subjects
from bistil_ds.benchmarking.models.engines import Engine, Inputs
from bistil_ds.benchmarking.models.subject import CALIBRATION_LENGTH, CALIBRATION_ROWS, InputCase, Subject, is_steady

TEXTS = ["ba be", "bi bo bu ba be bi bo bu ba be bi bo bu"]


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[Inputs]]:
    """Return the list to which each `make_engine` adds the samples that it was given; no engine is made."""
    found: list[Sequence[Inputs]] = []

    def make(model: object, engine: str, folder: Path, samples: Sequence[Inputs]) -> Engine:
        found.append(samples)
        return Engine(lambda threads: lambda inputs: None, 7)

    monkeypatch.setattr(subjects, "make_engine", make)
    return found


def test_an_int8_engine_is_calibrated_on_the_texts_and_without_them_on_random_tokens(
    tmp_path: Path, given: list[Sequence[Inputs]]
) -> None:
    name = str(tiny.write_teacher(tmp_path, layers=1))
    for texts in (TEXTS, []):
        measured = Subject(name, "openvino-int8", "float32", "cpu", str(tmp_path))
        measured.make_engine(texts, 6)
        assert measured.describe()["disk_bytes"] == 7
        assert measured.model is None  # its file is all that is needed
    Subject(name, "openvino", "float32", "cpu", str(tmp_path)).make_engine(TEXTS, 6)
    of_texts, random, nothing = given
    assert [tuple(sample["input_ids"].shape) for sample in of_texts][-1] == (1, 6)  # cut
    assert len(of_texts) == len(TEXTS)
    assert [tuple(sample["attention_mask"].shape) for sample in random] == [(CALIBRATION_ROWS, CALIBRATION_LENGTH)]
    assert nothing == []


def test_long_calls_are_steady_when_two_agree_and_short_ones_when_six_do() -> None:
    assert is_steady([9.0, 3.0, 3.1])
    assert not is_steady([9.0, 3.0])
    assert not is_steady([0.09, 0.03, 0.031])
    assert is_steady([0.09, *[0.03] * 6])


@pytest.mark.slow  # two separate timings, which other work on the machine would make differ
def test_a_subject_times_its_model_like_torch_does(tmp_path: Path) -> None:
    from torch.utils.benchmark import Timer

    subject = Subject(str(tiny.write_teacher(tmp_path, layers=12)), "eager", "float32", "cpu")
    subject.make_engine()
    threads = torch.get_num_threads()
    try:
        subject.prepare(InputCase(1, 8, 1))
        timer = Timer("run(x)", globals={"run": subject.run, "x": subject.batches[0]})
        ours, theirs = zip(*((min(subject.turn(3, 1)), timer.timeit(3).median) for _ in range(15)))
    finally:
        torch.set_num_threads(threads)
    # the fastest times, since other processes only slow a call down
    assert min(ours) == pytest.approx(min(theirs), rel=0.25)
