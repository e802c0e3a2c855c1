"""Phase 1's training loop: `transformers.Trainer` with a teacher beside it.

Shapes: B batch, T tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.trainer_utils import IntervalStrategy

from bistil_ds.distillation.arguments import DistillationArguments, LossArguments
from bistil_ds.distillation.describing import describe_student
from bistil_ds.distillation.distiller import Distiller
from bistil_ds.distillation.graphed_trainer import GraphedTrainer
from bistil_ds.distillation.teacher_languages import LanguageSwitch
from bistil_ds.distillation.validation import mean_terms
from bistil_ds.errors import InputError
from bistil_ds.models.head import with_both_biases
from bistil_ds.models.inputs import padding_id
from bistil_ds.models.left_out import left_out
from bistil_ds.models.tokenizer_folder import make_portable
from bistil_ds.sft.fine_tuning import SparseFineTuning
from bistil_ds.text.batches import MonolingualBatches, steps_of_epochs
from bistil_ds.text.chunks import MultilingualChunks, collate_chunks
from bistil_ds.text.masking import mask_tokens
from bistil_ds.training.finite_trainer import BatchLoss
from bistil_ds.training.flags.step_size import StepSize
from bistil_ds.training.graphs.flag import check_graphs
from bistil_ds.training.log.tensor_board import TensorBoardText
from bistil_ds.training.progress import EndOfRun
from bistil_ds.training.teacher import place_teacher, teacher_dtype
from bistil_ds.training.terms import LossTerms


class DistillationTrainer(GraphedTrainer):
    """Trainer of phase 1: distils `teacher` into `model` on text of one language or more.

    Example:
        >>> from bistil_ds import DistillationTrainer
        >>> trainer = DistillationTrainer(student, teacher, args, layer_map=[1, 3], train_dataset={"en": en, "tr": tr})
        >>> batch = {"input_ids": torch.tensor(en["input_ids"])}
        >>> trainer.terms(student, batch, "en").scalars()["hidden_0"].item()  # embeddings are copies
        0.0

    `train` runs `args.max_steps` optimiser steps on `batches`, and `save_model` writes the student. Each log line holds
    the mean of every loss term by language, tokens/s, model FLOPs utilisation and memory in GiB. On a machine with an
    energy counter, it also holds joules per token.

    Args:
        model: the student, a masked language model with the teacher's vocabulary and number of heads. Its parameters
            that no loss reaches are frozen.
        teacher: the masked language model to imitate. The trainer freezes it and moves it to the device in
            `args.teacher_dtype`; at ZeRO-3 an inference engine holds it. No optimiser and no checkpoint contains it.
        args: training arguments with the published defaults; without `max_steps`, `num_train_epochs` sets the length,
            in passes over the longest text. `language_temperature` gives larger texts more batches.
        layer_map: S ints, for each student layer the 0-based teacher layer it is aligned with.
        train_dataset: language → chunks, of one language or more; their order decides the order of the batches. A row
            holds `input_ids` [T] and maybe `attention_mask` [T], 0 on padding. Rows of unequal lengths are padded.
        eval_dataset: language → chunks, for validation; `train` needs it unless `args.eval_strategy` is "no".
        losses: weights and kinds of the losses; default: hidden-state and attention-map MSE, both of weight 1.
        projections: S+1 frozen matrices fp32 [teacher width, student width], one for each state; needed where the
            widths differ.
        language_sfts: language → the sparse fine-tuning (SFT) that the teacher carries on that language's batches, or
            None; needs `teacher_folder`.
        teacher_folder: the model folder `teacher` was loaded from; its fp32 weights make the swap of SFTs exact.
        keep_files: files copied beside every saved student. Phase 2 needs some of `kept_ids.json`,
            `distillation.json`, `projections.safetensors` and `origin.json`. The trainer itself writes those that the
            student needs and that this list lacks.
        processing_class: the tokenizer, saved with the student; a logit or MLM loss needs its mask token.
        kwargs: further arguments of `transformers.Trainer`.

    Raises:
        InputError: there is no language; loss weights cannot be used; a model's family or attention is not supported;
            `args.cuda_graphs` is true where graphs cannot be had; the tokenizer or `teacher_folder` is needed and
            missing; an SFT or `teacher_folder` does not belong to `teacher`. `train` raises it if `eval_dataset` is
            needed and missing.
        NonFiniteError: from `train`, on every rank (see `FiniteTrainer`); the message names step, language and rows.

    Source: BiStil (arXiv 2306.01709), section 3.1.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        teacher: PreTrainedModel,
        args: DistillationArguments,
        *,
        layer_map: Sequence[int],
        train_dataset: Mapping[str, Dataset],
        eval_dataset: Mapping[str, Dataset] | None = None,
        losses: LossArguments | None = None,
        projections: Sequence[Tensor] | None = None,
        language_sfts: Mapping[str, SparseFineTuning | None] | None = None,
        teacher_folder: Path | None = None,
        keep_files: Sequence[Path] = (),
        processing_class: PreTrainedTokenizerBase | None = None,
        **kwargs: Any,
    ) -> None:
        on_gpu = args.device.type == "cuda"
        check_graphs({**vars(args), **vars(losses or LossArguments())}, on_gpu=on_gpu, ranks=args.world_size)
        if not train_dataset:
            raise InputError("train_dataset has no language: give the chunks of one language or more")
        if args.max_steps < 0:
            assert args.num_train_epochs is not None  # the arguments give it a number
            sizes = [len(chunks) for chunks in train_dataset.values()]
            rows = StepSize.of(vars(args), args.world_size).rows
            args.max_steps = steps_of_epochs(args.num_train_epochs, sizes, rows, args.language_temperature)
        super().__init__(
            model,
            args,
            train_dataset=dict(train_dataset),
            eval_dataset=dict(eval_dataset or {}),
            processing_class=processing_class,
            keep_files=keep_files,
            **kwargs,
        )
        self.languages = list(train_dataset)
        self.files = describe_student(teacher, self.languages, layer_map, projections, language_sfts or {})
        device = args.device
        plugin = self.accelerator.state.deepspeed_plugin if self.is_deepspeed_enabled else None
        run_teacher = place_teacher(
            teacher, device, teacher_dtype(args.teacher_dtype, device), plugin.deepspeed_config if plugin else None
        )
        self.teacher = teacher
        if args.compile_teacher:
            run_teacher.compile()
        self.distiller = Distiller(
            model,
            teacher,
            layer_map,
            losses,
            [p.to(device) for p in projections] if projections is not None else None,
            run_teacher=run_teacher,
        )
        if self.distiller.reads_vocabulary and getattr(processing_class, "mask_token_id", None) is None:
            raise InputError("logit_weight and mlm_weight need processing_class, a tokenizer with a mask token")
        self.language_switch: LanguageSwitch | None = None
        if language_sfts and any(language_sfts.values()):
            if teacher_folder is None:
                raise InputError("language_sfts need teacher_folder, the folder the teacher was loaded from")
            self.language_switch = LanguageSwitch(teacher, teacher_folder, language_sfts)
        self.pad_token_id = padding_id(model.config)
        self.add_callback(EndOfRun)
        lines = [f"{type(teacher).__name__}, of the family {teacher.config.model_type}"]
        TensorBoardText(self, "teacher", "\n\n".join([*lines, *(f"left out: {line}" for line in left_out(teacher))]))

    def train(self, *args: Any, **kwargs: Any) -> Any:
        if self.args.eval_strategy != IntervalStrategy.NO and not self.eval_dataset:
            raise InputError(
                "eval_dataset is missing: give chunks to validate on, or eval_strategy='no' and "
                "load_best_model_at_end=False"
            )
        return super().train(*args, **kwargs)

    def _copy_kept_files(self, folder: Path) -> None:
        super()._copy_kept_files(folder)
        self.files.write(folder, replace=False)

    # Batches

    def _micro_steps(self) -> int:
        return self.args.max_steps * self.args.gradient_accumulation_steps

    def batches(self) -> MonolingualBatches:
        """Return the sequence of this rank's batches; each follows from the seed, the micro-step and the rank alone."""
        return MonolingualBatches(
            [len(self.train_dataset[language]) for language in self.languages],
            batch_size=self.args.per_device_train_batch_size,
            micro_steps=self._micro_steps(),
            seed=self.args.data_seed if self.args.data_seed is not None else self.args.seed,
            rank=self.args.process_index,
            world_size=self.args.world_size,
            temperature=self.args.language_temperature,
        )

    def get_train_dataloader(self) -> DataLoader:
        chunks = MultilingualChunks(self.train_dataset[language] for language in self.languages)
        return self._loader(chunks, batch_sampler=self.batches())

    def _loader(self, dataset: Any, **options: Any) -> DataLoader:
        return DataLoader(
            dataset,
            collate_fn=lambda rows: collate_chunks(rows, pad_token_id=self.pad_token_id),
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory and self.args.device.type == "cuda",
            **options,
        )

    # One step

    def batch_loss(self, model: nn.Module, inputs: dict[str, Any], micro_step: int, progress: float) -> BatchLoss:
        language = self.languages[inputs["language"]]

        def rows() -> str:
            return f"language {language}, rows {self.batches().rows_of(micro_step)}"

        if self.static_step is not None and torch.is_grad_enabled():  # gradients are computed here too
            self._switch_to(language)
            values = self.static_step.gradients(inputs, self.distiller.weights_at(progress))
            return BatchLoss(values["loss"], values, language, rows)
        share = (self.args.process_index, self.args.world_size)
        terms = self.terms(model, inputs, language, seed=micro_step, share=share, progress=progress)
        return BatchLoss(terms.total, terms.scalars(), language, rows)

    def terms(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        language: str,
        *,
        seed: int = 0,
        share: tuple[int, int] = (0, 1),
        progress: float = 0.0,
    ) -> LossTerms:
        """Return every loss term of one batch, computed with the SFT of `language` on the teacher.

        Args:
            model: the student, or the DeepSpeed engine or DDP module that wraps it.
            inputs: `input_ids` int64 [B, T], and `attention_mask` [B, T] where there is padding.
            language: the language of the batch; the teacher carries its SFT.
            seed: number of the global batch; with `args.seed` it decides which tokens are masked.
            share: (i, n): `inputs` is part i, from 0, of the n equal parts of that global batch.
            progress: share of the run done (0 to 1), for scheduled weights.
        """
        self._switch_to(language)
        batch = {k: v for k, v in inputs.items() if isinstance(v, Tensor)}
        if self.distiller.reads_vocabulary:
            batch["input_ids"], batch["labels"] = self._masked(batch, seed, share)
        return self.distiller(model, batch, progress)

    def _switch_to(self, language: str) -> None:
        if self.language_switch is not None:
            self.language_switch.switch_to(language)

    def _masked(self, batch: dict[str, Tensor], seed: int, share: tuple[int, int]) -> tuple[Tensor, Tensor]:
        tokenizer: Any = self.processing_class
        ids_BT, rows = batch["input_ids"], batch["input_ids"].shape[0]
        special = torch.tensor(sorted(set(tokenizer.all_special_ids)), device=ids_BT.device)
        return mask_tokens(
            ids_BT,
            ~torch.isin(ids_BT, special),
            seed=self.args.seed * 1_000_003 + seed,
            rows=slice(share[0] * rows, (share[0] + 1) * rows),
            total_rows=rows * share[1],
            mask_token_id=int(tokenizer.mask_token_id),
            vocab_size=self.model.config.vocab_size,
            probability=self.distiller.losses.mask_probability,
        )

    # Saving

    def write_model(self, folder: Path, state_dict: dict[str, Tensor] | None) -> None:
        if self.args.should_save and not self.model.config.tie_word_embeddings:
            state_dict = with_both_biases(self.model, self.model.state_dict() if state_dict is None else state_dict)
        super().write_model(folder, state_dict)
        if self.args.should_save and isinstance(self.processing_class, PreTrainedTokenizerBase):
            make_portable(self.processing_class, folder)

    # Validation

    def evaluate(
        self,
        eval_dataset: Any = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """Measure every loss term on each language's validation chunks, log the values and return them.

        Args:
            eval_dataset: language → chunks; default: the trainer's own.
            ignore_keys: not used.
            metric_key_prefix: replaces `eval` in the names below.

        Returns:
            `eval_<language>_<term>`, and `eval_loss`, the mean of `eval_<language>_loss` over the languages. These
            losses weigh their terms as at the end of a run (see `Distiller.validation_progress`). The term `cosine_i`
            is the cosine between student state and (projected) teacher state in pair i, averaged over real tokens.
        """
        datasets: Mapping[str, Dataset] = eval_dataset if eval_dataset is not None else self.eval_dataset
        with self.kernel_choice().serving():
            by_language = mean_terms(self, datasets, self._row_terms)
        metrics = {f"{metric_key_prefix}_{k}_{name}": v for k, row in by_language.items() for name, v in row.items()}
        if by_language:
            metrics[f"{metric_key_prefix}_loss"] = sum(row["loss"] for row in by_language.values()) / len(by_language)
        return self.log_validation(metrics)

    def _row_terms(self, model: nn.Module, rows: Sequence[dict[str, Any]], language: str, seed: int) -> LossTerms:
        inputs = self._prepare_inputs(collate_chunks(rows, pad_token_id=self.pad_token_id))
        return self.terms(model, inputs, language, seed=seed, progress=self.distiller.validation_progress)
