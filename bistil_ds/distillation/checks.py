"""Checks of a phase-1 run, which refuse bad input before a model is built or training starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from transformers import PretrainedConfig

from bistil_ds.distillation.arguments import DistillationArguments, LossArguments, ModelArguments
from bistil_ds.distillation.languages import languages_of
from bistil_ds.distillation.presets import PRESETS
from bistil_ds.distillation.relation_heads import relation_heads
from bistil_ds.distillation.request import DistillationRequest, StudentPlan
from bistil_ds.distributed import startup
from bistil_ds.errors import InputError, blaming
from bistil_ds.models.families import FAMILIES, check_supported
from bistil_ds.models.inputs import load_config, longest_input
from bistil_ds.models.licences import check_licence, parse_data_licence
from bistil_ds.models.loading import is_masked_lm
from bistil_ds.models.remote_code import check_native
from bistil_ds.models.sentence_folder import check_sentence_files, transformer_folder
from bistil_ds.runs.cache import cache_folder
from bistil_ds.student import choose_layers
from bistil_ds.text import check_different, check_text_file
from bistil_ds.text.arrow_file import CORPORA
from bistil_ds.training.arguments import check_numbers, check_training_arguments
from bistil_ds.training.distiller import check_maps_not_asked, parse_weights
from bistil_ds.training.flags.idle import idle_losses, refuse_idle
from bistil_ds.training.graphs.flag import check_graphs
from bistil_ds.training.request import TrainingRequest, fields_of
from bistil_ds.training.schedule import Weight

# Flag → why it has no effect in phase 1. `training/flags/inherited.py` lists more flags without effect.
NO_EFFECT = dict.fromkeys(
    (
        *("dataloader_drop_last", "dataloader_in_order", "dataloader_multiprocessing_context"),
        *("dataloader_persistent_workers", "dataloader_prefetch_factor", "train_sampling_strategy"),
    ),
    "the batches, each of one language, are ordered and loaded in a way of their own",
)
NO_EFFECT["greater_is_better"] = "a lower loss is better"
# Flags that shape a student which is built, and have no effect on one that is given: flag → what that one has already.
STUDENTS_OWN = {"layer_reduction_factor": "layers", "keep_first": "layers", "hidden_reduction_factor": "width"}
TRIMMED_OWN = dict.fromkeys(("vocab_threshold", "vocab_size"), "vocabulary")  # the same for one that is trimmed
# Flag → the flag that replaces it.
REPLACED_BY = {"layer_reduction_factor": "layer_map", "keep_first": "layer_map", "vocab_threshold": "vocab_size"}


def check_flags(flags: Mapping[str, Any]) -> None:
    """Raise InputError for flag values that are wrong whatever the teacher and the texts are."""
    check_numbers(flags)
    epochs, steps = flags["num_train_epochs"], flags["max_steps"]
    if epochs is not None and steps != -1:
        raise InputError(
            f"--num_train_epochs {epochs}: has no effect beside --max_steps {steps}; leave one of them out"
        )
    if steps < 1 and epochs is None:
        raise InputError(f"--max_steps {steps}: expected at least 1")
    weights = parse_weights(LossArguments(**fields_of(LossArguments, flags)), phase=1)
    languages = languages_of(flags)
    losses = ["loss", *(f"{language}_loss" for language in languages)]
    if (metric := flags["metric_for_best_model"]) is not None and metric.removeprefix("eval_") not in losses:
        raise InputError(f"--metric_for_best_model {metric}: expected one of {', '.join(losses)}")
    if not 0 <= flags["vocab_threshold"] < 1:
        raise InputError(
            f"--vocab_threshold {flags['vocab_threshold']}: expected a probability, at least 0 and under 1"
        )
    if not 0 < flags["mask_probability"] < 1:
        raise InputError(f"--mask_probability {flags['mask_probability']}: expected a probability between 0 and 1")
    if flags["layer_map"] is not None:
        parse_layers(flags["layer_map"])
    check_licence("--teacher_licence", flags["teacher_licence"])
    parse_data_licence(flags["data_licence"], languages)
    check_training_arguments(TrainingRequest.of_flags(DistillationArguments, flags), NO_EFFECT)
    on_gpu = torch.cuda.is_available() and not flags["use_cpu"]
    check_graphs(flags, on_gpu=on_gpu, ranks=startup.world_size())
    if not flags["resume_from_checkpoint"]:  # earlier versions let runs begin with such flags
        idle = idle_losses(weights) | ({"language_temperature": "there is one language"} if len(languages) == 1 else {})
        preset = PRESETS.get(flags["preset"], {})  # what it stands for was not asked for by name
        asked = {name: value for name, value in flags.items() if preset.get(name) != value}
        refuse_idle([LossArguments, DistillationArguments], asked, idle)


def check_effects(plan: StudentPlan) -> None:
    """Raise InputError for a flag that has no effect: the student is given, not built, or another flag replaces it.

    For new runs only: runs of earlier versions began with such flags, and go on with them.
    """
    for name, what in STUDENTS_OWN.items():
        if plan.student is not None and (value := getattr(plan, name)) != getattr(ModelArguments, name):
            raise InputError(f"--{name} {value}: --student keeps its own {what}; leave the flag out")
    for name, other in REPLACED_BY.items():
        if getattr(plan, other) is not None and (value := getattr(plan, name)) != getattr(ModelArguments, name):
            raise InputError(f"--{name} {value}: has no effect beside --{other}; leave one of them out")


def check_trimmed(plan: StudentPlan) -> None:
    """Raise InputError for a flag that has no effect because the student that is given is trimmed already."""
    for name, what in TRIMMED_OWN.items():
        if (value := getattr(plan, name)) != getattr(ModelArguments, name):
            raise InputError(f"--{name} {value}: --student {plan.student} has its own {what}; leave the flag out")


def check_files(request: DistillationRequest) -> None:
    """Raise InputError unless all texts can be read, no two are the same, and the cache can be written.

    For a text that cannot be read, the message names file and line.
    """
    cache_folder(CORPORA)
    for corpus in request.corpora:
        check_text_file(corpus.file, corpus.flag, corpus.column, corpus.most)
    check_different({corpus.file_flag: corpus.file for corpus in request.corpora})


def parse_layers(words: str) -> list[int]:
    """Return the layers named by a value of --layer_map, such as 1,3,5,11.

    Raises:
        InputError: a part between the commas is not a whole number.
    """
    try:
        return [int(part) for part in words.split(",")]
    except ValueError:
        raise InputError(f"--layer_map {words}: expected teacher layers such as 1,3,5,11") from None


def layer_map(plan: StudentPlan, teacher: PretrainedConfig) -> list[int]:
    """Return the 0-based teacher layer of each student layer, from the plan's layer map or reduction factor.

    Raises:
        InputError: map or factor does not fit a teacher of this configuration.
    """
    if plan.layer_map is None:
        with blaming(f"--layer_reduction_factor {plan.layer_reduction_factor}"):
            return choose_layers(teacher, plan.layer_reduction_factor, keep_first=plan.keep_first)
    with blaming(f"--layer_map {','.join(map(str, plan.layer_map))}"):
        return choose_layers(teacher, layer_map=plan.layer_map)


def check_teacher(request: DistillationRequest) -> PretrainedConfig:
    """Check that the teacher fits the request, without reading weights; return its configuration.

    Raises:
        InputError: the teacher cannot be distilled, or layers, width or --max_length do not fit it.
    """
    name, plan = request.teacher, request.plan
    config = load_config("--teacher_model", transformer_folder(name, "--teacher_model"))
    with blaming(f"--teacher_model {name}"):
        check_supported(config)
    check_native(config, f"--teacher_model {name}")
    _refuse_vocabulary_losses(request, "--teacher_model", name, config)
    if plan.student is not None:
        _refuse_vocabulary_losses(request, "--student", plan.student, load_config("--student", plan.student))
    _check_relations(request, config)
    if not FAMILIES[config.model_type].maps_observable:
        check_maps_not_asked(request.losses, 1, config.model_type)
    if plan.student is None or plan.layer_map is not None:
        layer_map(plan, config)
    if config.hidden_size % plan.hidden_reduction_factor:
        raise InputError(
            f"--hidden_reduction_factor {plan.hidden_reduction_factor}: does not divide the teacher's width "
            f"{config.hidden_size}"
        )
    if request.packing.max_length > (longest := longest_input(config)):
        raise InputError(f"--max_length {request.packing.max_length}: {name} takes at most {longest} tokens")
    return config


def check_modules(request: DistillationRequest, teacher: PretrainedConfig) -> None:
    """Raise InputError if the student keeps files of a sentence-transformers folder, and one of them is broken.

    For new runs only: the student of a run that has begun has its copies.
    """
    plan = request.plan
    if plan.student is None:
        width = teacher.hidden_size // plan.hidden_reduction_factor
    else:
        width = load_config("--student", plan.student).hidden_size
    check_sentence_files(request.teacher, width, "--teacher_model")


def _check_relations(request: DistillationRequest, teacher: PretrainedConfig) -> None:
    """Raise InputError for a layer of relations that the teacher lacks, or heads that do not divide its widths."""
    losses = request.losses
    if not Weight.parse(losses.relation_weight, "relation_weight").used:
        return
    layers = teacher.num_hidden_layers
    if losses.relation_layer is not None and not 0 <= losses.relation_layer < layers:
        raise InputError(f"--relation_layer {losses.relation_layer}: the teacher has layers 0 to {layers - 1}")
    relation_heads(losses.relation_heads, [teacher])


def _refuse_vocabulary_losses(request: DistillationRequest, flag: str, model: str, config: PretrainedConfig) -> None:
    """Raise InputError if a loss needs logits over the vocabulary, and the model has no masked-LM head to give them."""
    if is_masked_lm(config):
        return
    for name in ("logit", "mlm"):
        weight = getattr(request.losses, f"{name}_weight")
        if Weight.parse(weight, f"{name}_weight").used:
            kind = config.architectures[0]
            raise InputError(
                f"--{name}_weight {weight}: {flag} {model} is a {kind}, which has no masked-LM head and so no logits "
                "over the vocabulary; leave the weight at 0"
            )
