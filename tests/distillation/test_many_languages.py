"""Train on one language and on three, in memory: logs, validation, the best checkpoint, and resuming to the bit."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from datasets import Dataset
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import PreTrainedModel, XLMRobertaModel
from transformers.trainer_callback import PrinterCallback

from bistil_ds.distillation.arguments import DistillationArguments
from bistil_ds.distillation.trainer import DistillationTrainer
from bistil_ds.errors import InputError
from bistil_ds.student import build_student
from bistil_ds.student.folder import read_alignment

SIZES = {"aa": 30, "bb": 20, "cc": 4}


def chunks(rows: int, seed: int) -> Dataset:
    ids = torch.randint(4, 60, (rows, 8), generator=torch.Generator().manual_seed(seed))
    return Dataset.from_dict({"input_ids": ids.tolist()})


def trainer(folder: Path, *languages: str, teacher: PreTrainedModel | None = None, **flags: Any) -> DistillationTrainer:
    teacher = teacher or tiny.xlmr(60, layers=2, width=16)
    built = build_student(teacher, progress=False)
    settings: dict[str, Any] = {"max_steps": 8, "per_device_train_batch_size": 2, "eval_steps": 4, "logging_steps": 1}
    settings |= {"output_dir": str(folder), "report_to": "none", "disable_tqdm": True, "learning_rate": 1e-3}
    made = DistillationTrainer(
        built.student,
        teacher,
        DistillationArguments(**{**settings, **flags}),
        layer_map=built.layer_map,
        train_dataset={language: chunks(SIZES[language], seed) for seed, language in enumerate(languages)},
        eval_dataset={language: chunks(3, seed + 9) for seed, language in enumerate(languages)},
    )
    made.remove_callback(PrinterCallback)
    return made


def logged(made: DistillationTrainer, key: str) -> list[float]:
    return [row[key] for row in made.state.log_history if key in row]


@pytest.mark.parametrize("languages", [("cc",), ("aa", "bb", "cc")])
def test_one_language_or_three_train_and_are_validated_each(languages: tuple[str, ...], tmp_path: Path) -> None:
    made = trainer(tmp_path, *languages, max_steps=12, metric_for_best_model="cc_loss", eval_steps=6)
    made.train()
    for language in languages:
        before, *_, after = logged(made, f"eval_{language}_loss")
        assert after < before
        assert len(logged(made, f"{language}/hidden_0")) == 12 // len(languages)
    mean = sum(logged(made, f"eval_{language}_loss")[-1] for language in languages) / len(languages)
    assert logged(made, "eval_loss")[-1] == pytest.approx(mean)
    assert made.state.best_metric == pytest.approx(min(logged(made, "eval_cc_loss")[1:]))
    made.save_model(str(tmp_path / "student"))
    alignment = read_alignment(tmp_path / "student")
    assert alignment is not None
    assert alignment.languages == languages


@pytest.mark.parametrize("temperature", [None, 2.0])
def test_three_languages_resume_to_the_same_bits(temperature: float | None, tmp_path: Path) -> None:
    flags = {"language_temperature": temperature, "save_total_limit": None}
    whole = trainer(tmp_path, *SIZES, **flags)
    whole.train()
    later = trainer(tmp_path, *SIZES, **flags)
    later.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    ours, theirs = later.model.state_dict(), whole.model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert logged(later, "loss") == logged(whole, "loss")
    seen = Counter(language for language in SIZES for _ in logged(later, f"{language}/loss"))
    sampler = later.batches()
    assert seen == Counter(list(SIZES)[sampler.language_of(step)] for step in range(8))
    if temperature is None:
        assert max(seen.values()) - min(seen.values()) == 1
    else:
        assert seen["aa"] > seen["bb"] > seen["cc"] > 0


def test_epochs_of_three_languages_follow_the_temperature(tmp_path: Path) -> None:
    flags = {"max_steps": -1, "num_train_epochs": 3}
    assert trainer(tmp_path, *SIZES, **flags).args.max_steps == 3 * 3 * 30 // 2
    assert trainer(tmp_path, *SIZES, **flags, language_temperature=1.0).args.max_steps == 3 * 54 // 2


def test_no_language_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="train_dataset has no language: give the chunks of one language or more"):
        trainer(tmp_path)


def text_of(folder: Path) -> str:
    """Return the text on the teacher in TensorBoard's log."""
    events = EventAccumulator(str(next(folder.rglob("events.*")).parent)).Reload()
    return events.Tensors("teacher/text_summary")[0].tensor_proto.string_val[0].decode()


def test_tensorboard_names_the_family_and_what_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "whole" / "board"))
    trainer(tmp_path / "whole", "aa", report_to="tensorboard", max_steps=1).train()
    assert text_of(tmp_path / "whole") == "XLMRobertaForMaskedLM, of the family xlm-roberta"
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "headless" / "board"))
    torch.manual_seed(0)
    headless = XLMRobertaModel(tiny.xlmr(60, layers=2, width=16).config, add_pooling_layer=False).eval()
    trainer(tmp_path / "headless", "aa", teacher=headless, report_to="tensorboard", max_steps=1).train()
    first, said = text_of(tmp_path / "headless").split("\n\n")
    assert first == "XLMRobertaModel, of the family xlm-roberta"
    assert said == "left out: logit and MLM losses: XLMRobertaModel has no masked-LM head"
