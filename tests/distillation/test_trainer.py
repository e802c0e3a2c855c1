"""Test phase 1 from Python: own data sets, own teacher, `DistillationTrainer`, and a folder that transformers loads."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny
import torch
from datasets import Dataset
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import PreTrainedModel, PreTrainedTokenizerFast
from transformers.trainer_callback import PrinterCallback

from bistil_ds.distillation.arguments import DistillationArguments, LossArguments
from bistil_ds.distillation.building import TEACHER
from bistil_ds.distillation.run import results
from bistil_ds.distillation.trainer import DistillationTrainer
from bistil_ds.errors import InputError, NonFiniteLossError, Notice
from bistil_ds.sft.changes import SparseDiff
from bistil_ds.sft.fine_tuning import SparseFineTuning
from bistil_ds.student import build_student

LAYERS, LENGTH = 4, 16
LANGUAGES = tuple(tiny.SYLLABLES)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return tiny.unigram_tokenizer()


@pytest.fixture(scope="module")
def teacher_folder(tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teacher")
    tiny.xlmr(len(tokenizer), layers=LAYERS).save_pretrained(folder)
    return folder


def chunks(tokenizer: PreTrainedTokenizerFast, language: str, rows: int, seed: int, packed: bool = True) -> Dataset:
    """Return token ids of made-up text, all `LENGTH` long if `packed`, else of unequal lengths."""
    ids = [tokenizer(line)["input_ids"] for line in tiny.text_lines(language, 4 * rows, seed)]
    flat = [one for line in ids for one in line]
    cut = (
        [flat[i * LENGTH : (i + 1) * LENGTH] for i in range(rows)] if packed else [line[:LENGTH] for line in ids[:rows]]
    )
    return Dataset.from_dict({"input_ids": cut})


Make = Callable[..., DistillationTrainer]


@pytest.fixture
def make(tokenizer: PreTrainedTokenizerFast, teacher_folder: Path, tmp_path: Path) -> Make:
    """Return a function that makes a trainer on fresh copies of one teacher and of the student built from it."""

    def made(
        losses: LossArguments | None = None, packed: bool = True, keep: dict[str, Any] | None = None, **flags: Any
    ) -> DistillationTrainer:
        settings: dict[str, Any] = {
            "output_dir": str(tmp_path / "run"),
            "max_steps": 8,
            "per_device_train_batch_size": 4,
            "learning_rate": 1e-3,
            "logging_steps": 1,
            "eval_steps": 4,
            "report_to": "none",
            "disable_tqdm": True,
        }
        teacher = tiny.xlmr(len(tokenizer), layers=LAYERS)
        student = build_student(teacher, progress=False)
        trainer = DistillationTrainer(
            student.student,
            teacher,
            DistillationArguments(**{**settings, **flags}),
            layer_map=student.layer_map,
            train_dataset={one: chunks(tokenizer, one, 40, 0, packed) for one in LANGUAGES},
            eval_dataset={one: chunks(tokenizer, one, 10, 1, packed) for one in LANGUAGES},
            losses=losses,
            processing_class=tokenizer,
            **(keep or {}),
        )
        trainer.remove_callback(PrinterCallback)
        return trainer

    return made


def logged(trainer: DistillationTrainer, key: str) -> list[float]:
    return [row[key] for row in trainer.state.log_history if key in row]


def weights(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def same_bits(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("packed", [True, False])
def test_training_lowers_the_loss_of_both_languages(make: Make, packed: bool) -> None:
    trainer = make(packed=packed, max_steps=30)
    trainer.train()
    for language in LANGUAGES:
        before, *_, after = logged(trainer, f"eval_{language}_loss")
        assert after < 0.8 * before
    mean = sum(logged(trainer, f"eval_{one}_loss")[-1] for one in LANGUAGES) / 2
    assert logged(trainer, "eval_loss")[-1] == pytest.approx(mean)


def test_padding_changes_nothing(make: Make, tokenizer: PreTrainedTokenizerFast) -> None:
    rows = chunks(tokenizer, "aa", 3, 1, packed=False)["input_ids"]
    lengths = [len(row) for row in rows]
    assert len(set(lengths)) > 1
    trainer = make()
    together = trainer.evaluate({"aa": Dataset.from_dict({"input_ids": rows})})
    alone = [trainer.evaluate({"aa": Dataset.from_dict({"input_ids": [row]})}) for row in rows]
    by_token = sum(n * one["eval_aa_hidden"] for n, one in zip(lengths, alone)) / sum(lengths)
    by_pair = sum(n * n * one["eval_aa_attention"] for n, one in zip(lengths, alone)) / sum(n * n for n in lengths)
    assert together["eval_aa_hidden"] == pytest.approx(by_token, rel=1e-5)
    assert together["eval_aa_attention"] == pytest.approx(by_pair, rel=1e-5)


def test_validation_reports_every_term_of_every_layer_and_language(make: Make) -> None:
    metrics = make().evaluate()
    for language in LANGUAGES:
        for name, count in (("hidden", 3), ("cosine", 3), ("attention", 2)):
            layers = [metrics[f"eval_{language}_{name}_{i}"] for i in range(count)]
            assert metrics[f"eval_{language}_{name}"] == pytest.approx(sum(layers) / count, rel=1e-5)
        total = metrics[f"eval_{language}_hidden"] + metrics[f"eval_{language}_attention"]
        assert metrics[f"eval_{language}_loss"] == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("batch", [1, 3, 10, 64])
def test_validation_is_the_same_whatever_its_batch_size(make: Make, batch: int) -> None:
    metrics, one = (make(per_device_eval_batch_size=size).evaluate() for size in (batch, 8))
    assert metrics == pytest.approx(one, rel=1e-5)


def test_validation_before_and_after_training_does_not_change_training(make: Make, tmp_path: Path) -> None:
    plain, watched = make(output_dir=str(tmp_path / "a")), make(output_dir=str(tmp_path / "b"))
    plain.train()
    first = watched.evaluate()
    watched.train()
    last = watched.evaluate()
    assert first["eval_loss"] == logged(watched, "eval_loss")[0]
    assert last["eval_loss"] == pytest.approx(min(logged(watched, "eval_loss")))
    assert same_bits(weights(plain.model), weights(watched.model))
    assert logged(plain, "loss") == logged(watched, "loss")


def test_two_trainings_give_the_same_bits(make: Make, tmp_path: Path) -> None:
    losses = LossArguments(logit_weight="0.5", mlm_weight="0.5")
    runs = [make(losses, output_dir=str(tmp_path / name)) for name in "ab"]
    for trainer in runs:
        trainer.train()
    assert same_bits(*(weights(trainer.model) for trainer in runs))
    other = make(losses, output_dir=str(tmp_path / "c"), seed=7)
    other.train()
    assert not same_bits(weights(runs[0].model), weights(other.model))


def test_the_best_student_is_kept_not_the_last(make: Make, tmp_path: Path) -> None:
    trainer = make(learning_rate=0.3, max_steps=9, eval_steps=3, lr_scheduler_type="constant", max_grad_norm=0)
    values = iter([5.0, 3.0, 2.0, 4.0, 2.5])  # validation before the first step and after steps 3, 6 and 9
    evaluate = trainer.evaluate
    at: dict[int, dict[str, torch.Tensor]] = {}

    def scripted(*args: Any, **kwargs: Any) -> dict[str, float]:
        at[trainer.state.global_step] = weights(trainer.model)
        return {**evaluate(*args, **kwargs), "eval_loss": next(values)}

    trainer.evaluate = scripted  # type: ignore[method-assign]
    trainer.train()
    assert same_bits(weights(trainer.model), at[6])
    assert not same_bits(at[6], at[9])


def test_tensorboard_holds_every_term_and_the_vital_signs(make: Make, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "board"))
    make(LossArguments(logit_weight="1", mlm_weight="1"), report_to="tensorboard").train()
    events = EventAccumulator(str(next((tmp_path / "board").rglob("events.*")).parent)).Reload()
    tags = set(events.Tags()["scalars"])
    vital = {"loss", "learning_rate", "grad_norm", "tokens_per_second", "memory_gib", "mfu"}
    assert {f"train/{name}" for name in vital} | {"eval/loss"} <= tags
    layers = [f"hidden_{i}" for i in range(3)] + [f"attention_{i}" for i in range(2)]
    for language in LANGUAGES:
        for term in ("loss", "hidden", "attention", "logit", "mlm", *layers):
            assert f"train/{language}/{term}" in tags
            assert f"eval/{language}_{term}" in tags
        assert f"eval/{language}_cosine_2" in tags
    rate = [event.value for event in events.Scalars("train/tokens_per_second")]
    assert len(rate) == 8
    assert min(rate) > 0
    shares = [event.value / rate for event, rate in zip(events.Scalars("train/mfu"), rate)]
    # FLOPs per token over the machine's ceiling, both constant
    assert shares == pytest.approx([shares[0]] * 8, rel=1e-4)


def test_logged_terms_are_means_of_the_micro_steps_since_the_last_line(make: Make, tmp_path: Path) -> None:
    each, rare = (make(logging_steps=n, output_dir=str(tmp_path / str(n))) for n in (1, 8))
    each.train()
    rare.train()
    for language in LANGUAGES:
        values = logged(each, f"{language}/hidden")
        assert len(values) == 4
        assert logged(rare, f"{language}/hidden") == pytest.approx([sum(values) / 4])


def test_a_saved_student_needs_nothing_of_ours(make: Make, tmp_path: Path) -> None:
    beside = tmp_path / "kept_ids.json"
    beside.write_text("{}")
    trainer = make(keep={"keep_files": [beside]})
    trainer.train()
    folder = tmp_path / "student"
    trainer.save_model(str(folder))
    assert (folder / "kept_ids.json").read_text() == "{}"
    assert not list(folder.rglob("*.bin"))
    assert not list((tmp_path / "run").rglob("training_args.bin"))
    code = """
        import json, sys
        sys.modules["bistil_ds"] = sys.modules["bistil_kernels"] = None
        from transformers import AutoModelForMaskedLM, AutoTokenizer
        model, tokenizer = (kind.from_pretrained(sys.argv[1]) for kind in (AutoModelForMaskedLM, AutoTokenizer))
        logits = model(**tokenizer("bake lomi", return_tensors="pt")).logits
        print(json.dumps([model.config._attn_implementation, logits[0, 1].tolist()]))
    """
    words = [sys.executable, "-c", "\n".join(line[8:] for line in code.splitlines()), str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    attention, row = json.loads(done.stdout.splitlines()[-1])
    ids = trainer.processing_class("bake lomi", return_tensors="pt")
    assert attention == "sdpa"
    with torch.no_grad():
        torch.testing.assert_close(torch.tensor(row), trainer.model.eval()(**ids).logits[0, 1], rtol=1e-4, atol=1e-4)


def test_a_non_finite_loss_stops_before_the_update(make: Make) -> None:
    trainer = make(gradient_accumulation_steps=2, eval_strategy="no", eval_on_start=False, load_best_model_at_end=False)
    steps, spoilt = trainer.compute_loss, []
    language, rows = trainer.batches().language_of(5), trainer.batches().rows_of(5)

    def spoiling(*args: Any, **kwargs: Any) -> torch.Tensor:
        if trainer.state.global_step == 2 and trainer._micro_step == (2, 0):  # now the sixth micro-step is next
            spoilt.append(weights(trainer.model))
            with torch.no_grad():
                trainer.distiller.teacher.get_input_embeddings().weight.fill_(float("nan"))
        return steps(*args, **kwargs)

    trainer.compute_loss = spoiling  # type: ignore[method-assign]
    with pytest.raises(NonFiniteLossError) as error:
        trainer.train()
    message = str(error.value)
    assert "step 3, micro-step 6, rank 0" in message
    assert f"language {LANGUAGES[language]}, rows {rows}" in message
    assert "'hidden': nan" in message
    assert same_bits(weights(trainer.model), spoilt[0])


def test_a_last_update_that_is_not_finite_is_found_in_validation(make: Make, tmp_path: Path) -> None:
    trainer = make(max_steps=1, learning_rate=1e30, lr_scheduler_type="constant")
    with pytest.raises(NonFiniteLossError, match=r"in the validation after step 1, rank 0, language .*'eval_loss': "):
        trainer.train()
    assert not list((tmp_path / "run").glob("checkpoint-*"))


def test_training_without_validation_data_says_so_at_once_or_does_not_validate(make: Make) -> None:
    trainer = make()
    trainer.eval_dataset = {}
    with pytest.raises(InputError, match="eval_dataset is missing: give chunks to validate on, or eval_strategy='no'"):
        trainer.train()
    trainer = make(max_steps=1, eval_strategy="no", load_best_model_at_end=False, save_strategy="no")
    trainer.eval_dataset = {}
    trainer.train()
    assert trainer.state.global_step == 1


def test_the_best_validation_of_a_run_is_one_that_was_saved(tmp_path: Path, teacher_folder: Path) -> None:
    rows = [{"step": step, "eval_loss": loss} for step, loss in ((0, 1.0), (4, 3.0), (8, 2.0))]
    trainer: Any = SimpleNamespace(state=SimpleNamespace(log_history=rows, global_step=8))
    shutil.copytree(teacher_folder, tmp_path / TEACHER)
    found = results(trainer, teacher_folder, tmp_path)
    assert found["validation_before"]["step"] == 0
    assert found["validation_best"]["step"] == 8


def shift(teacher_folder: Path, seed: int) -> SparseFineTuning:
    """Return an SFT that changes a hundred query weights of the teacher's second layer."""
    name = "roberta.encoder.layer.1.attention.self.query.weight"
    shape = load_file(teacher_folder / "model.safetensors")[name].shape
    generator = torch.Generator().manual_seed(seed)
    indices = torch.randperm(shape.numel(), generator=generator)[:100].sort().values
    return SparseFineTuning(
        f"sft-{seed}", {name: SparseDiff(tuple(shape), indices, torch.randn(100, generator=generator))}
    )


def test_the_teacher_carries_each_languages_sft_and_gets_its_exact_bits_back(make: Make, teacher_folder: Path) -> None:
    sfts = {language: shift(teacher_folder, seed) for seed, language in enumerate(LANGUAGES)}
    trainer = make(keep={"language_sfts": sfts, "teacher_folder": teacher_folder})
    original = load_file(teacher_folder / "model.safetensors")
    with_sfts, without = trainer.evaluate(), make().evaluate()
    for language in LANGUAGES:
        assert with_sfts[f"eval_{language}_attention_0"] != pytest.approx(
            without[f"eval_{language}_attention_0"], rel=1e-3
        )
        changed = make(keep={})
        sfts[language].apply(changed.distiller.teacher)
        assert with_sfts[f"eval_{language}_loss"] == changed.evaluate()[f"eval_{language}_loss"]
    trainer.train()
    assert trainer.language_switch is not None
    trainer.language_switch.switch_to(None)
    after = trainer.distiller.teacher.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in original.items())


def test_sfts_without_the_teachers_folder_are_refused(make: Make, teacher_folder: Path) -> None:
    with pytest.raises(InputError, match="teacher_folder"):
        make(keep={"language_sfts": {"aa": shift(teacher_folder, 0), "bb": None}})


def test_losses_on_masked_tokens_need_a_tokenizer(make: Make, tokenizer: PreTrainedTokenizerFast) -> None:
    trainer = make()
    with pytest.raises(InputError, match="processing_class"):
        DistillationTrainer(
            trainer.model,
            trainer.distiller.teacher,
            trainer.args,
            layer_map=[1, 3],
            train_dataset=trainer.train_dataset,
            losses=LossArguments(mlm_weight="1"),
        )


def test_several_gpus_of_one_process_are_not_shared_by_replicas(make: Make) -> None:
    first = make()
    first.args._n_gpu = 2  # pretends that the machine has two GPUs
    second = DistillationTrainer(
        first.model, first.distiller.teacher, first.args, layer_map=[1, 3], train_dataset=first.train_dataset
    )
    assert second.args.n_gpu == 1


@pytest.mark.parametrize("accumulation", [1, 4])
def test_the_gradient_is_the_mean_over_micro_steps(make: Make, accumulation: int) -> None:
    flags: dict[str, Any] = {"eval_strategy": "no", "eval_on_start": False, "load_best_model_at_end": False}
    flags |= {"optim": "sgd", "learning_rate": 1.0, "lr_scheduler_type": "constant", "max_grad_norm": 0}
    trainer = make(gradient_accumulation_steps=accumulation, max_steps=1, **flags)
    before = weights(trainer.model)
    trainer.train()
    checked = make()
    for batch in list(iter(checked.get_train_dataloader()))[:accumulation]:
        checked.terms(checked.model, batch, LANGUAGES[batch["language"]]).total.backward()
    name = "roberta.encoder.layer.0.output.dense.weight"
    mean = checked.model.get_parameter(name).grad / accumulation
    torch.testing.assert_close(before[name] - trainer.model.get_parameter(name), mean, rtol=1e-3, atol=1e-6)
    assert mean.abs().max() > 1e-3


@pytest.mark.parametrize(
    "losses",
    [
        LossArguments(hidden_weight="0", attention_weight="0", logit_weight="1", mlm_weight="0.5"),
        LossArguments(hidden_weight="0"),
        LossArguments(attention_loss="kl", align_layers="last"),
        LossArguments(hidden_weight="1:0", mlm_weight="0:1", published_losses=True),
    ],
)
def test_every_kind_of_loss_trains(make: Make, losses: LossArguments) -> None:
    trainer = make(losses, max_steps=40, eval_steps=40, learning_rate=2e-3)
    untouched = {name for name, p in trainer.model.named_parameters() if not p.requires_grad}
    before = weights(trainer.model)
    trainer.train()
    values = logged(trainer, "eval_loss")
    if losses.mlm_weight != "0:1":  # with this schedule the sum at the end has other terms than at the start
        assert values[-1] < 0.95 * values[0]
    assert all(torch.equal(trainer.model.get_parameter(name), before[name]) for name in untouched)


@pytest.mark.parametrize("losses", [LossArguments(), LossArguments(logit_weight="1", mlm_weight="1")])
def test_gradient_checkpointing_trains_the_same(make: Make, tmp_path: Path, losses: LossArguments) -> None:
    plain, frugal = (
        make(losses, gradient_checkpointing=on, output_dir=str(tmp_path / str(on))) for on in (False, True)
    )
    plain.train()
    frugal.train()
    assert frugal.model.is_gradient_checkpointing
    assert logged(plain, "loss") == pytest.approx(logged(frugal, "loss"), rel=1e-6)
    assert logged(plain, "grad_norm") == pytest.approx(logged(frugal, "grad_norm"), rel=1e-4)


def test_bf16_trains_close_to_fp32(make: Make, tmp_path: Path) -> None:
    losses = LossArguments(logit_weight="1", mlm_weight="1")
    exact, rough = (make(losses, bf16=on, output_dir=str(tmp_path / str(on))) for on in (False, True))
    exact.train()
    rough.train()
    assert next(rough.model.parameters()).dtype == torch.float32
    assert logged(rough, "loss") != logged(exact, "loss")
    assert logged(rough, "loss") == pytest.approx(logged(exact, "loss"), rel=0.05)


def test_a_bf16_teacher_costs_little(make: Make) -> None:
    exact, rough = make().evaluate(), make(teacher_dtype="bfloat16").evaluate()
    assert rough["eval_loss"] != exact["eval_loss"]
    assert rough["eval_loss"] == pytest.approx(exact["eval_loss"], rel=0.05)


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


@pytest.mark.slow
@pytest.mark.parametrize("losses", [LossArguments(), LossArguments(logit_weight="1", mlm_weight="1")])
def test_compiled_models_train_the_same_and_compile_once(make: Make, tmp_path: Path, losses: LossArguments) -> None:
    from torch._dynamo.utils import counters

    flags: dict[str, Any] = {"eval_on_start": False, "eval_strategy": "no", "load_best_model_at_end": False}
    plain = make(losses, output_dir=str(tmp_path / "plain"), **flags)
    plain.train()
    torch._dynamo.reset()
    counters.clear()
    fast = make(losses, output_dir=str(tmp_path / "fast"), torch_compile=True, compile_teacher=True, **flags)
    fast.train()
    assert logged(plain, "loss") == pytest.approx(logged(fast, "loss"), rel=1e-4)
    assert 0 < counters["stats"]["unique_graphs"] <= 12


def test_a_resumed_run_logs_validates_and_saves_at_its_own_intervals(make: Make, tmp_path: Path) -> None:
    make(max_steps=4, eval_steps=2, save_steps=2, logging_steps=1, save_total_limit=9).train()
    own = {"eval_steps": 1, "save_steps": 3, "logging_steps": 4}
    resumed = make(max_steps=4, **own, load_best_model_at_end=False, save_total_limit=9)
    resumed.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-2"))
    rows = [row for row in resumed.state.log_history if row["step"] > 2]
    assert [row["step"] for row in rows if "loss" in row] == [4]
    assert [row["step"] for row in rows if "eval_loss" in row] == [3, 4]
    assert (tmp_path / "run" / "checkpoint-3").is_dir()
