"""Layout of `--help`: the usual flags in groups, with short texts, one spelling of each flag, and useful defaults."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from transformers import TrainingArguments

# The flags of TrainingArguments that --help shows, by group: group → flag → short help text.
# None keeps the help text of the flag's own field.
USUAL: dict[str, dict[str, str | None]] = {
    "training": {
        "max_steps": None,
        "language_temperature": None,
        "per_device_train_batch_size": None,
        "gradient_accumulation_steps": "Micro-steps in one optimiser step.",
        "learning_rate": None,
        "lr_scheduler_type": "linear, constant_with_warmup, cosine ...",
        "warmup_steps": "Steps of linear warm-up; below 1, a share of the run.",
        "weight_decay": "AdamW's weight decay.",
        "max_grad_norm": "Gradients are clipped to this norm; 0: not at all.",
        "seed": "Seed of shuffles, languages' order and masks.",
    },
    "speed and memory": {
        "deepspeed": "DeepSpeed JSON file, or zero0 ... zero3, zero2_offload, zero3_offload.",
        "bf16": "Train the student in bfloat16 mixed precision.",
        "fp16": "Train the student in float16 mixed precision.",
        "teacher_dtype": None,
        "compile_teacher": None,
        "cuda_graphs": None,
        "kernels": None,
        "torch_compile": "Run the student through torch.compile.",
        "gradient_checkpointing": "Recompute activations in the backward pass.",
        "dataloader_num_workers": "Processes that load batches; 0: the training process itself.",
    },
    "run": {
        "output_dir": None,
        "dry_run": None,
        "resume_from_checkpoint": (
            "true: from the newest whole checkpoint of --output_dir, or from the start where no run has begun there; "
            "or a folder: one of its checkpoints. SIGTERM or SIGUSR1 saves one at the next step and exits with code 75."
        ),
        "trust_checkpoint": None,
        "seal_key": None,
        "rank_timeout": None,
        "eval_steps": None,
        "per_device_eval_batch_size": "Chunks per device in validation.",
        "save_steps": None,
        "save_total_limit": None,
        "logging_steps": None,
        "report_to": None,
    },
}
METAVARS = {"deepspeed": "FILE", "report_to": "NAME", "lr_scheduler_type": "NAME", "layer_map": "N,N,..."}
METAVARS |= {"text": "LANGUAGE=FILE", "language_sft": "LANGUAGE=FOLDER"}


class Formatter(argparse.HelpFormatter):
    """Help formatter that shows `--some_flag VALUE` but not its twin `--some-flag`, and adds `(default: ...)`.

    No default is added if it is None, False or 0, or if the help text names it.
    """

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=34)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        flags = [flag for flag in action.option_strings if "-" not in flag[2:]]
        is_switch = action.nargs in (0, "?")
        return ", ".join(flags) + ("" if is_switch or not flags else f" {self._format_args(action, action.dest)}")

    def _get_help_string(self, action: argparse.Action) -> str:
        text = action.help or ""
        silent = action.default in (None, False, argparse.SUPPRESS) or "default:" in text
        return text if silent else f"{text} (default: %(default)s)"


def arrange(parser: argparse.ArgumentParser, types: Sequence[type], everything: bool) -> None:
    """Put the usual flags of `TrainingArguments` into groups, and set the metavar (VALUE) of each flag without choices.

    All other flags of `TrainingArguments` form one more group, which is hidden unless `everything` is True.
    """
    for action in parser._actions:
        if action.choices is None or action.dest in METAVARS:
            action.metavar = _metavar(action)
        if action.const is False:  # the parser gives --no_x the text of --x
            action.help = f"Turn off --{action.dest}."
    kinds = [kind for kind in types if issubclass(kind, TrainingArguments)]
    if not kinds:
        return
    ungrouped = {a.dest: a for a in parser._optionals._group_actions if not a.option_strings[0].startswith("--no_")}
    for title, texts in USUAL.items():
        group = parser.add_argument_group(title)
        for name, text in texts.items():
            if name in ungrouped:  # commands have different flags: only phase 1 has `compile_teacher`
                ungrouped[name].help = text or ungrouped[name].help
                _move(ungrouped[name], parser._optionals, group)
    rare = parser.add_argument_group("all other transformers.TrainingArguments")
    for action in list(parser._optionals._group_actions):
        if action.dest not in ("help", "help_all", "verbose", "cache_dir"):
            _move(action, parser._optionals, rare)
            action.help = action.help if everything else argparse.SUPPRESS


def _move(action: argparse.Action, old: argparse._ArgumentGroup, new: argparse._ArgumentGroup) -> None:
    old._group_actions.remove(action)
    new._group_actions.append(action)


def _metavar(action: argparse.Action) -> str | None:
    if action.nargs == 0:
        return None
    number = {int: "N", float: "X"}.get(action.type)  # type: ignore[call-overload]
    return METAVARS.get(action.dest) or number or action.dest.rpartition("_")[2].upper()
