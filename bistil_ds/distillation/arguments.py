"""The flags of phase 1, as dataclasses: models and text, losses, and training."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from bistil_ds.distillation.presets import PRESETS
from bistil_ds.models.families import FAMILIES
from bistil_ds.models.left_out import UNOBSERVABLE
from bistil_ds.student.layer_map import DEFAULT_FACTOR
from bistil_ds.training.arguments import SealedArguments
from bistil_ds.training.graphs.flag import graphs_field

PUBLISHED_STEPS, PUBLISHED_LENGTH, PUBLISHED_LEARNING_RATE = 200_000, 256, 1e-4


@dataclass(frozen=True)
class ModelArguments:
    """Flags for the teacher, the text and the student; with neither teacher nor text, the embedded sample is used."""

    _argument_group_name = "teacher, text and student (neither teacher nor text: the embedded sample)"

    teacher_model: str | None = field(
        default=None,
        metadata={
            "help": f"Folder or hub id of the encoder to distil: {', '.join(FAMILIES)}. Without a masked-LM head: no "
            "logit and MLM losses."
        },
    )
    text: list[str] | None = field(
        default=None,
        metadata={
            "nargs": "+",
            "help": "Text of each language, one or more: file or folder of text, JSONL, CSV or Parquet, compressed or "
            "not; plain:FILE; or hf:DATASET[:CONFIG][:SPLIT][:COLUMN].",
        },
    )
    language_sft: list[str] | None = field(
        default=None,
        metadata={"nargs": "+", "help": "Sparse fine-tuning the teacher carries on the batches of a language."},
    )
    source_file: str | None = field(default=None, metadata={"help": "For two languages, in place of --text."})
    target_file: str | None = field(default=None, metadata={"help": "Target-language text."})
    source_language: str | None = field(default=None, metadata={"help": "Code of the source language, such as en."})
    target_language: str | None = field(default=None, metadata={"help": "Code of the target language, such as tr."})
    text_column: str = field(default="text", metadata={"help": "Column with the text, in data that has columns."})
    max_texts: int | None = field(
        default=None,
        metadata={"help": "Read the first texts of each corpus only; stream a hub dataset."},
    )
    teacher_licence: str | None = field(
        default=None, metadata={"help": "The teacher's licence, such as mit; default: the one its model card states."}
    )
    data_licence: list[str] | None = field(
        default=None,
        metadata={"nargs": "+", "help": "Licence of the text: one for all, or LANGUAGE=LICENCE for each."},
    )
    source_sft: str | None = field(default=None, metadata={"help": "As --language_sft, of the source language."})
    target_sft: str | None = field(default=None, metadata={"help": "As --language_sft, of the target language."})
    student: str | None = field(
        default=None,
        metadata={"help": "Start from this model on the untrimmed vocabulary instead of building one."},
    )
    layer_reduction_factor: int = field(default=DEFAULT_FACTOR, metadata={"help": "Keep every k-th teacher layer."})
    layer_map: str | None = field(
        default=None, metadata={"help": "Teacher layers to keep instead, counted from 0, such as 1,3,5,11."}
    )
    keep_first: bool = field(
        default=False, metadata={"help": "Spread the kept layers evenly from the teacher's first to its last."}
    )
    hidden_reduction_factor: int = field(default=1, metadata={"help": "Divide the width by this (heads stay)."})
    vocab_threshold: float = field(default=1e-6, metadata={"help": "Keep tokens at least this probable in any corpus."})
    vocab_size: int | None = field(default=None, metadata={"help": "Keep this many tokens instead of a threshold."})
    max_length: int | None = field(
        default=None,
        metadata={"help": f"Tokens in a chunk; default: {PUBLISHED_LENGTH}."},
    )
    preprocessing_workers: int | None = field(default=None, metadata={"help": "Threads that tokenise."})


@dataclass(frozen=True)
class LossArguments:
    """Weights and kinds of phase 1's losses.

    A weight is a number, or FROM:TO for a linear change over the run. Every validation weighs a loss by TO, or by FROM
    if all weights fall to 0.
    """

    _argument_group_name = (
        "losses (a weight is a number, or FROM:TO for a linear change over the run; validation takes TO)"
    )

    preset: str | None = field(
        default=None,
        metadata={
            "help": "Losses, and of `best` the learning rate, by name; other flags here still count.",
            "choices": list(PRESETS),
        },
    )
    hidden_weight: str = field(default="1", metadata={"help": "Weight of the hidden-state loss."})
    attention_weight: str = field(
        default="1", metadata={"help": f"Weight of the attention-map loss; not for {', '.join(UNOBSERVABLE)}."}
    )
    relation_weight: str = field(
        default="0",
        metadata={"help": "Weight of MiniLMv2's relations."},
    )
    relation_layer: int | None = field(default=None, metadata={"help": "Their teacher layer; default: the last."})
    relation_heads: int | None = field(default=None, metadata={"help": "Their heads; default: of 16 values."})
    logit_weight: str = field(
        default="0", metadata={"help": "Weight of KL(teacher || student) over the vocabulary at masked positions."}
    )
    mlm_weight: str = field(default="0", metadata={"help": "Weight of the masked-language-modelling loss."})
    hidden_loss: str = field(
        default="mse",
        metadata={"help": "How states are compared.", "choices": ["mse", "cosine"]},
    )
    attention_loss: str = field(default="mse", metadata={"help": "How maps are compared.", "choices": ["mse", "kl"]})
    align_layers: str = field(
        default="all", metadata={"help": "Align all kept layers, or the last only.", "choices": ["all", "last"]}
    )
    temperature: float = field(default=2.0, metadata={"help": "Temperature of the logit distillation."})
    mask_probability: float = field(
        default=0.15, metadata={"help": "Share of tokens masked when a logit or MLM weight is not 0."}
    )
    published_losses: bool = field(
        default=False, metadata={"help": "Padding counts as in the authors' code: only attention keys are masked."}
    )


@dataclass
class DistillationArguments(SealedArguments):
    """`transformers.TrainingArguments` with the published defaults of phase 1."""

    output_dir: str | None = field(default=None, metadata={"help": "Run folder; default: runs/general-<time>."})
    max_steps: int = field(
        default=-1,
        metadata={"help": f"Optimiser steps; default: {PUBLISHED_STEPS:,}, or as --num_train_epochs says."},
    )
    num_train_epochs: float | None = field(
        default=None, metadata={"help": "Passes over the longest text, in place of --max_steps."}
    )
    language_temperature: float | None = field(
        default=None,
        metadata={
            "help": "T, at least 1: a language's share of the batches is proportional to size^(1/T); default: equal "
            "shares."
        },
    )
    per_device_train_batch_size: int = field(default=8, metadata={"help": "Chunks per device and micro-step."})
    learning_rate: float | None = field(
        default=None,
        metadata={"help": f"Peak learning rate, linear decay by default; default: {PUBLISHED_LEARNING_RATE:g}."},
    )
    teacher_dtype: str = field(
        default="auto",
        metadata={
            "help": "Precision the teacher runs in; auto: bfloat16 on GPUs that have it, else float32.",
            "choices": ["auto", "float32", "bfloat16", "float16"],
        },
    )
    compile_teacher: bool = field(default=False, metadata={"help": "Run the teacher through torch.compile."})
    cuda_graphs: bool = graphs_field()
    logging_steps: float = field(default=50, metadata={"help": "Steps between log lines."})
    eval_strategy: str = field(default="steps", metadata={"help": "no or steps."})
    eval_steps: float | None = field(
        default=None, metadata={"help": "Steps between validations; default: a 20th of the run, at least 25."}
    )
    eval_on_start: bool = field(default=True, metadata={"help": "Validate before the first step."})
    save_steps: float | None = field(
        default=None, metadata={"help": "Steps between checkpoints; default: as eval_steps."}
    )
    save_total_limit: int | None = field(default=2, metadata={"help": "Checkpoints kept (the best is among them)."})
    load_best_model_at_end: bool = field(default=True, metadata={"help": "Keep the best student, not the last."})
    report_to: list[str] | None | str = field(  # noqa: RUF036 - the parser takes this order only
        default_factory=lambda: ["tensorboard"],
        metadata={"help": "Where to log: tensorboard, wandb, mlflow, several of them, or none; default: tensorboard."},
    )
    remove_unused_columns: bool | None = field(default=False, metadata={"help": "Not used: batches are ours."})

    def __post_init__(self) -> None:
        by_epochs = self.max_steps < 0 and self.num_train_epochs is not None  # then the trainer computes max_steps
        if self.max_steps < 0 and not by_epochs:
            self.max_steps = PUBLISHED_STEPS
        if self.num_train_epochs is None:
            self.num_train_epochs = SealedArguments.num_train_epochs  # not used, but transformers wants a number
        if self.learning_rate is None:
            self.learning_rate = PUBLISHED_LEARNING_RATE
        if self.eval_steps is None:  # with epochs the number of steps is not known yet; 0.05 is a share of the run
            self.eval_steps = 0.05 if by_epochs else max(25, self.max_steps // 20)
        if self.save_steps is None:
            self.save_steps = self.eval_steps
        if not torch.cuda.is_available():
            self.use_cpu = True  # without this, transformers treats each CPU rank as a run of its own
        super().__post_init__()
