"""Test that phase 1 resumes from Python: to the same bits, and at the intervals that it is given."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny
from distilling.trainers import Make, logged, same_bits, weights

from bistil_ds.distillation.arguments import LossArguments
from bistil_ds.distillation.from_flags import request_of
from bistil_ds.distillation.preparation import PreparedRun, prepare
from bistil_ds.errors import InputError, Notice


def test_resuming_takes_whole_checkpoints_only_and_goes_on_to_the_same_bits(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    losses = LossArguments(mlm_weight="1")
    whole = make(losses, gradient_accumulation_steps=2)
    whole.train()
    stopped = make(losses, gradient_accumulation_steps=2, output_dir=str(tmp_path / "stopped"))
    stopped.train()
    (tmp_path / "stopped" / "checkpoint-8" / "complete.json").unlink()
    resumed = make(losses, gradient_accumulation_steps=2, output_dir=str(tmp_path / "stopped"))
    with pytest.warns(Notice, match="checkpoint-8 is left out: .*not written to its end"):
        resumed.train(resume_from_checkpoint=True)
    assert logged(resumed, "loss") == logged(whole, "loss")
    assert same_bits(weights(resumed.model), weights(whole.model))
    assert "missing keys" not in caplog.text  # a tied weight is saved once, which must not be reported as missing
    (tmp_path / "stopped" / "checkpoint-4" / "optimizer.pt").write_bytes(b"tampered")
    with pytest.raises(InputError, match=r"optimizer\.pt: not the bytes that were written"):
        stopped.train(resume_from_checkpoint=str(tmp_path / "stopped" / "checkpoint-4"))


def test_a_resumed_run_logs_validates_and_saves_at_its_own_intervals(make: Make, tmp_path: Path) -> None:
    make(max_steps=4, eval_steps=2, save_steps=2, logging_steps=1, save_total_limit=9).train()
    own = {"eval_steps": 1, "save_steps": 3, "logging_steps": 4}
    resumed = make(max_steps=4, **own, load_best_model_at_end=False, save_total_limit=9)
    resumed.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-2"))
    rows = [row for row in resumed.state.log_history if row["step"] > 2]
    assert [row["step"] for row in rows if "loss" in row] == [3, 4]  # a line ends before each checkpoint
    assert [row["step"] for row in rows if "eval_loss" in row] == [3, 4]
    assert (tmp_path / "run" / "checkpoint-3").is_dir()


REFUSED = {
    "--layer_reduction_factor 3: --student keeps its own layers": {"student": "teacher", "layer_reduction_factor": 3},
    "--layer_reduction_factor 3: has no effect beside --layer_map": {"layer_map": "0,1", "layer_reduction_factor": 3},
    "--keep_first True: has no effect beside --layer_map": {"layer_map": "0,1", "keep_first": True},
    "--vocab_threshold 0.001: has no effect beside --vocab_size": {"vocab_size": 60, "vocab_threshold": 0.001},
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_was_accepted_and_ignored_is_refused_in_new_runs_only(
    message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny.write_teacher(tmp_path / "teacher", layers=2, width=16)
    for seed, language in enumerate(("aa", "bb")):
        Path(f"{language}.txt").write_text("\n".join(tiny.text_lines(language, 200, seed)), encoding="utf-8")
    *working, (flag, ignored) = REFUSED[message].items()

    def prepared(**flags: object) -> PreparedRun:
        own: dict[str, object] = {"teacher_model": "teacher", "text": {"aa": "aa.txt", "bb": "bb.txt"}}
        own |= {"max_length": 16, "max_steps": 4, "report_to": "none", "output_dir": "run", **dict(working)}
        return prepare(request_of(**{**own, **flags}))

    prepared()
    record = json.loads(Path("run/run.json").read_text())
    record["arguments"][flag] = ignored
    Path("run/run.json").write_text(json.dumps(record))
    prepared(**{flag: ignored}, resume_from_checkpoint="true")
    for resume in (None, "true"):  # "true" may also start a run, where none has begun
        with pytest.raises(InputError, match=message):
            prepared(**{flag: ignored}, resume_from_checkpoint=resume, output_dir="new")
    assert not Path("new").exists()
