"""What is checked about a phase-1 command before anything is read at length, built or started."""

from __future__ import annotations

import argparse
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from transformers import AutoConfig, PretrainedConfig

from bistil_ds import engine
from bistil_ds.corpora import check_text_file, check_two_languages
from bistil_ds.errors import InputError
from bistil_ds.schedule import Weight
from bistil_ds.student import SUPPORTED_MODEL_TYPES, choose_layers

NEEDED = ("teacher_model", "source_file", "target_file", "source_language", "target_language")


def check_arguments(ns: argparse.Namespace) -> None:
    """InputError for values that cannot work, whatever the files hold."""
    missing = [f"--{name}" for name in NEEDED if not getattr(ns, name)]
    if missing:
        raise InputError(f"{' '.join(missing)} missing: give all of {', '.join('--' + n for n in NEEDED)}, or none")
    if ns.source_language == ns.target_language:
        raise InputError(f"--target_language {ns.target_language}: is the source language too; give two languages")
    for name in ("max_length", "per_device_train_batch_size", "gradient_accumulation_steps", "layer_reduction_factor"):
        if getattr(ns, name) < 1:
            raise InputError(f"--{name} {getattr(ns, name)}: expected at least 1")
    for name in ("hidden", "attention", "logit", "mlm"):
        Weight.parse(getattr(ns, f"{name}_weight"), f"{name}_weight")
    if not 0 <= ns.vocab_threshold < 1:
        raise InputError(f"--vocab_threshold {ns.vocab_threshold}: expected a probability, at least 0 and under 1")
    if not 0 < ns.mask_probability < 1:
        raise InputError(f"--mask_probability {ns.mask_probability}: expected a probability between 0 and 1")
    if ns.temperature <= 0:
        raise InputError(f"--temperature {ns.temperature}: expected a number above 0")
    check_deepspeed(ns)


def check_files(ns: argparse.Namespace) -> None:
    """InputError naming file and line for text that cannot be read."""
    check_text_file(ns.source_file, flag="--source_file", text_column=ns.text_column)
    check_text_file(ns.target_file, flag="--target_file", text_column=ns.text_column)
    check_two_languages(ns.source_file, ns.target_file)


def layer_map(ns: argparse.Namespace, teacher_layers: int) -> list[int]:
    """The teacher layer of each student layer, from --layer_map or --layer_reduction_factor."""
    if ns.layer_map is None:
        return choose_layers(teacher_layers, ns.layer_reduction_factor)
    try:
        wanted = [int(part) for part in ns.layer_map.split(",")]
    except ValueError:
        raise InputError(f"--layer_map {ns.layer_map}: expected teacher layers such as 1,3,5,11") from None
    return choose_layers(teacher_layers, layer_map=wanted)


def check_teacher(ns: argparse.Namespace) -> PretrainedConfig:
    """The teacher's configuration, once it is of a kind we can distil and the factors fit it."""
    name = ns.teacher_model
    try:
        config = AutoConfig.from_pretrained(name)
    except (OSError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise InputError(f"--teacher_model {name}: cannot be loaded: {first}") from None
    if config.model_type not in SUPPORTED_MODEL_TYPES:
        known = ", ".join(sorted(SUPPORTED_MODEL_TYPES))
        raise InputError(f"--teacher_model {name}: is a {config.model_type} model; supported are {known}")
    if not any("ForMaskedLM" in kind or "ForPreTraining" in kind for kind in config.architectures or ["ForMaskedLM"]):
        raise InputError(f"--teacher_model {name}: is a {config.architectures[0]}, not a masked language model")
    if layer_map(ns, config.num_hidden_layers) and config.hidden_size % ns.hidden_reduction_factor:
        raise InputError(
            f"--hidden_reduction_factor {ns.hidden_reduction_factor}: does not divide the teacher's width "
            f"{config.hidden_size}"
        )
    longest = config.max_position_embeddings - (config.pad_token_id + 1 if "roberta" in config.model_type else 0)
    if ns.max_length > longest:
        raise InputError(f"--max_length {ns.max_length}: {name} takes at most {longest} tokens")
    return config


def check_deepspeed(ns: argparse.Namespace) -> None:
    """InputError when the DeepSpeed file says other than the flags do."""
    if not ns.deepspeed:
        return
    path = engine.find_config(ns.deepspeed)
    config = engine.read_config(path)
    batch, accumulation, ranks = ns.per_device_train_batch_size, ns.gradient_accumulation_steps, engine.world_size()
    expected = {
        "train_micro_batch_size_per_gpu": ("--per_device_train_batch_size", batch),
        "gradient_accumulation_steps": ("--gradient_accumulation_steps", accumulation),
        "train_batch_size": ("batch x accumulation x ranks", batch * accumulation * ranks),
        "gradient_clipping": ("--max_grad_norm", ns.max_grad_norm),
        "bf16.enabled": ("--bf16", ns.bf16),
        "fp16.enabled": ("--fp16", ns.fp16),
        "optimizer.params.lr": ("--learning_rate", ns.learning_rate),
        "optimizer.params.weight_decay": ("--weight_decay", ns.weight_decay),
    }
    for key, (flag, value) in expected.items():
        found: Any = config
        for part in key.split("."):
            found = found.get(part) if isinstance(found, dict) else None
        if found not in (None, "auto", value):
            raise InputError(f'--deepspeed {path}: {key} is {found}, but {flag} is {value}; write "auto" in the file')
    stage = config.get("zero_optimization", {}).get("stage", 0)
    if stage not in (0, 1, 2, 3):
        raise InputError(f"--deepspeed {path}: zero_optimization.stage is {stage!r}; expected 0, 1, 2 or 3")


def check_same_run(given: dict[str, Any], recorded: dict[str, Any], names: list[str], folder: Path) -> None:
    """InputError when a resumed run is given other values than it was started with."""
    for name in names:
        if name in recorded and given[name] != recorded[name]:
            raise InputError(f"--{name} {given[name]}: the run in {folder} was started with {recorded[name]}")


def as_fields(ns: argparse.Namespace, kind: type) -> dict[str, Any]:
    """The namespace's values for the fields of a dataclass."""
    fields = kind.__dataclass_fields__  # type: ignore[attr-defined]
    return {name: value for name, value in vars(ns).items() if name in fields and fields[name].init}


def namespace(values: dict[str, Any]) -> SimpleNamespace:
    """A namespace again, from what rank 0 sent."""
    return SimpleNamespace(**values)
