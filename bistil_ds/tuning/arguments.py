"""The flags of teacher tuning and phase 2, as dataclasses: models, task and data, losses, and training."""

from __future__ import annotations

from argparse import SUPPRESS
from dataclasses import dataclass, field

import torch

from bistil_ds.tasks.embed.flags import VectorArguments
from bistil_ds.tasks.registry import NAMES
from bistil_ds.training.arguments import SealedArguments


@dataclass(frozen=True)
class TunedModelArguments:
    """Flags that name the multilingual model to tune; without --model and data files, the embedded sample is used."""

    _argument_group_name = "model (none of --model and the files: the embedded sample)"

    model: str | None = field(default=None, metadata={"help": "Folder or hub id of the multilingual model to tune."})
    model_licence: str | None = field(
        default=None, metadata={"help": "The model's licence, such as mit; default: the one its model card states."}
    )
    source_sft: list[str] | None = field(
        default=None,
        metadata={"nargs": "+", "help": "Sparse fine-tuning(s) it carries while it is tuned: its source language."},
    )


@dataclass(frozen=True)
class DistilledStudentArguments:
    """Flags that name the student and its teacher; without models and data files, the embedded sample is used."""

    _argument_group_name = "student and teacher (none of the models and files: the embedded sample)"

    student: str | None = field(default=None, metadata={"help": "Folder of the student phase 1 left."})
    teacher_model: str | None = field(
        default=None, metadata={"help": "Folder or hub id of the multilingual model the student was distilled from."}
    )
    teacher_licence: str | None = field(
        default=None, metadata={"help": "Its licence, such as mit; default: the one its model card states."}
    )
    teacher_sft: list[str] | None = field(
        default=None,
        metadata={
            "nargs": "+",
            "help": "Fine-tunings the teacher carries: its language's, then the task's; none: it is tuned whole.",
        },
    )
    new_head: bool = field(
        default=False, metadata={"help": "Begin with a random task head instead of a copy of the teacher's."}
    )


@dataclass(frozen=True)
class TaskDataArguments:
    """Flags that name the task and its data."""

    _argument_group_name = "task and data"

    task: str | None = field(default=None, metadata={"help": f"{NAMES}; default: ner, on the sample."})
    train_file: list[str] | None = field(
        default=None,
        metadata={
            "nargs": "+",
            "help": "Training data, [LANGUAGE=]FILE or hub dataset id[:config[:split]]; several mix.",
        },
    )
    dev_file: list[str] | None = field(
        default=None, metadata={"nargs": "+", "help": "Data the best checkpoint is picked on, in the same forms."}
    )
    data_licence: list[str] | None = field(
        default=None,
        metadata={"nargs": "+", "help": "Licence of the training data: one for all, or LANGUAGE=LICENCE for each."},
    )
    columns: list[str] | None = field(
        default=None,
        metadata={
            "nargs": "+",
            "help": "OURS=THEIRS columns: tags=ner_tags; without a header, tags=4 tokens=2.",
        },
    )
    label_map: list[str] | None = field(
        default=None, metadata={"nargs": "+", "help": "Labels to read as others: DATE=O, or PERSON=PER."}
    )
    max_length: int | None = field(default=None, metadata={"help": "Longest input in tokens; default: the task's."})
    upsample: bool = field(default=True, metadata={"help": "Repeat smaller training files to the size of the largest."})


@dataclass(frozen=True)
class UnlabelledArguments:
    """The flag for text without labels."""

    _argument_group_name = "text without labels (--task ner, pos, nli)"

    unlabelled_file: list[str] | None = field(
        default=None,
        metadata={
            "nargs": "+",
            "help": "[LANGUAGE=]FILE of plain text each, on which the student learns the teacher's answers.",
        },
    )


@dataclass(frozen=True)
class EmbeddingArguments(VectorArguments):
    """Flags of the task `embed` only: how teacher and student make vectors, and its data beside plain text."""

    dimension: str = field(
        default="teacher",
        metadata={
            "help": "Dimension of a narrower student's vectors: the teacher's, by a dense layer, or its own.",
            "choices": ["teacher", "student"],
        },
    )
    parallel_file: list[str] | None = field(
        default=None,
        metadata={"nargs": "+", "help": "Parallel text, NAME=SOURCE,TRANSLATIONS: both get the source's vector."},
    )
    held_out: int = field(
        default=500, metadata={"help": "Texts of each language held out for validation where there is no --dev_file."}
    )


@dataclass(frozen=True)
class TaskLossArguments:
    """Weights and kinds of phase 2's losses. A weight is a number, or FROM:TO for a linear change over each stage."""

    _argument_group_name = "losses (a weight is a number, or FROM:TO for a linear change over each stage)"

    hidden_weight: str = field(default="1", metadata={"help": "Weight of the hidden-state loss."})
    attention_weight: str = field(default="1", metadata={"help": "Weight of the attention-map loss."})
    logit_weight: str = field(default="1", metadata={"help": "Weight of KL(teacher || student) over task logits."})
    label_weight: str = field(default="0", metadata={"help": "Weight of the loss on the gold labels."})
    vector_cosine_weight: str = field(
        default="1", metadata={"help": "Weight of 1 - cosine of student's and teacher's vectors (embed)."}
    )
    vector_mse_weight: str = field(
        default="1",
        metadata={"help": "Weight of the vectors' squared error, relative to their length (embed)."},
    )
    similarity_weight: str = field(
        default="1", metadata={"help": "Weight of KL(teacher || student) of similarities within a batch (embed)."}
    )
    similarity_temperature: float = field(
        default=0.05, metadata={"help": "Temperature of these similarities, which are cosines."}
    )
    hidden_loss: str = field(
        default="mse",
        metadata={"help": "How states are compared.", "choices": ["mse", "cosine"]},
    )
    attention_loss: str = field(default="mse", metadata={"help": "How maps are compared.", "choices": ["mse", "kl"]})
    align_layers: str = field(
        default="all", metadata={"help": "Align all kept layers, or the last only.", "choices": ["all", "last"]}
    )
    temperature: float = field(default=2.0, metadata={"help": "Temperature of the logit distillation."})
    published_losses: bool = field(
        default=False, metadata={"help": "Padding counts as in the authors' code: only attention keys are masked."}
    )


@dataclass
class TaskTrainingArguments(SealedArguments):
    """`transformers.TrainingArguments` with the defaults of task training.

    Stages validate after every epoch, except full stages, which never validate. `--max_steps` and `--num_train_epochs`
    are refused, as each stage has its own; so `--help` hides them.
    """

    max_steps: int = field(default=-1, metadata={"help": SUPPRESS})
    num_train_epochs: float = field(default=SealedArguments.num_train_epochs, metadata={"help": SUPPRESS})
    output_dir: str | None = field(default=None, metadata={"help": "Run folder; default: runs/<script>-<time>."})
    per_device_train_batch_size: int = field(default=8, metadata={"help": "Examples per device and micro-step."})
    per_device_eval_batch_size: int = field(default=32, metadata={"help": "Examples per device in validation."})
    learning_rate: float | None = field(
        default=None,
        metadata={"help": "Peak learning rate, linear decay by default; default: the task's published one."},
    )
    teacher_dtype: str = field(
        default="auto",
        metadata={
            "help": "Precision the teacher runs in; auto: bfloat16 on GPUs that have it, else float32.",
            "choices": ["auto", "float32", "bfloat16", "float16"],
        },
    )
    logging_steps: float = field(default=50, metadata={"help": "Steps between log lines."})
    eval_strategy: str = field(default="epoch", metadata={"help": "no, steps or epoch."})
    save_strategy: str = field(default="epoch", metadata={"help": "no, steps or epoch; as eval_strategy."})
    save_total_limit: int | None = field(default=2, metadata={"help": "Checkpoints kept (the best is among them)."})
    load_best_model_at_end: bool = field(default=True, metadata={"help": "Keep the best model, not the last."})
    report_to: list[str] | None | str = field(  # noqa: RUF036 - the parser accepts only this order
        default_factory=lambda: ["tensorboard"],
        metadata={"help": "Where to log: tensorboard, wandb, mlflow, several of them, or none; default: tensorboard."},
    )
    remove_unused_columns: bool | None = field(default=False, metadata={"help": "Not used: rows are the task's."})

    def __post_init__(self) -> None:
        if not torch.cuda.is_available():
            self.use_cpu = True  # else transformers treats each CPU rank as a run of its own
        super().__post_init__()
