"""Checks of a phase-1 command: they refuse bad input before any model is built or training is started."""

from __future__ import annotations

import argparse

from transformers import PretrainedConfig

from bistil_ds.distillation.arguments import DistillationArguments
from bistil_ds.distributed.config import check_deepspeed
from bistil_ds.errors import InputError, blaming
from bistil_ds.models.families import check_teacher_config
from bistil_ds.models.inputs import load_config, longest_input
from bistil_ds.models.licences import check_licence, parse_data_licence
from bistil_ds.student import choose_layers
from bistil_ds.text import check_text_file, check_two_languages
from bistil_ds.training.arguments import ABOVE_0, AT_LEAST_1, check_training_arguments
from bistil_ds.training.schedule import Weight
from bistil_ds.training.terms import terms_of

NEEDED = ("teacher_model", "source_file", "target_file", "source_language", "target_language")


def check_arguments(ns: argparse.Namespace) -> None:
    """Raise InputError for flag values that cannot work, whatever the files hold."""
    missing = [f"--{name}" for name in NEEDED if not getattr(ns, name)]
    if missing:
        raise InputError(f"{' '.join(missing)} missing: give all of {', '.join('--' + n for n in NEEDED)}, or none")
    if ns.source_language == ns.target_language:
        raise InputError(f"--target_language {ns.target_language}: is the source language too; give two languages")
    for name in AT_LEAST_1:
        if (value := getattr(ns, name)) is not None and value < 1:
            raise InputError(f"--{name} {value}: expected at least 1")
    for name in ABOVE_0:
        if (value := getattr(ns, name)) is not None and not 0 < value < float("inf"):
            raise InputError(f"--{name} {value}: expected a number above 0")
    for term in terms_of(phase=1):
        Weight.parse(getattr(ns, f"{term.name}_weight"), f"{term.name}_weight")
    if not 0 <= ns.vocab_threshold < 1:
        raise InputError(f"--vocab_threshold {ns.vocab_threshold}: expected a probability, at least 0 and under 1")
    if not 0 < ns.mask_probability < 1:
        raise InputError(f"--mask_probability {ns.mask_probability}: expected a probability between 0 and 1")
    check_licence("--teacher_licence", ns.teacher_licence)
    parse_data_licence(ns.data_licence, [ns.source_language, ns.target_language])
    check_training_arguments(ns, DistillationArguments)
    check_deepspeed(ns)


def check_files(ns: argparse.Namespace) -> None:
    """Raise InputError, naming the file and a wrong line, unless both texts can be read and differ."""
    check_text_file(ns.source_file, flag="--source_file", text_column=ns.text_column)
    check_text_file(ns.target_file, flag="--target_file", text_column=ns.text_column)
    check_two_languages(ns.source_file, ns.target_file)


def layer_map(ns: argparse.Namespace, teacher_layers: int) -> list[int]:
    """Return the 0-based teacher layer of each student layer, from --layer_map or --layer_reduction_factor.

    Raises:
        InputError: the flag does not fit a teacher of `teacher_layers` layers.
    """
    if ns.layer_map is None:
        with blaming(f"--layer_reduction_factor {ns.layer_reduction_factor}"):
            return choose_layers(teacher_layers, ns.layer_reduction_factor)
    try:
        wanted = [int(part) for part in ns.layer_map.split(",")]
    except ValueError:
        raise InputError(f"--layer_map {ns.layer_map}: expected teacher layers such as 1,3,5,11") from None
    with blaming(f"--layer_map {ns.layer_map}"):
        return choose_layers(teacher_layers, layer_map=wanted)


def check_teacher(ns: argparse.Namespace) -> PretrainedConfig:
    """Return the teacher's configuration; read no weights.

    Raises:
        InputError: the teacher cannot be distilled, or layers, width or --max_length do not fit it.
    """
    name = ns.teacher_model
    config = load_config("--teacher_model", name)
    with blaming(f"--teacher_model {name}"):
        check_teacher_config(config)
    if ns.student is None or ns.layer_map is not None:
        layer_map(ns, config.num_hidden_layers)
    if config.hidden_size % ns.hidden_reduction_factor:
        raise InputError(
            f"--hidden_reduction_factor {ns.hidden_reduction_factor}: does not divide the teacher's width "
            f"{config.hidden_size}"
        )
    if ns.max_length > (longest := longest_input(config)):
        raise InputError(f"--max_length {ns.max_length}: {name} takes at most {longest} tokens")
    return config
