"""Check a DeepSpeed file with the parsers of transformers, accelerate and DeepSpeed, before anything is built.

These parsers, not this module, know which settings exist.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from bistil_ds.distributed import startup
from bistil_ds.distributed.config import find_config, forget_partitioning, training_config
from bistil_ds.errors import InputError

ANY_WIDTH = 64  # in place of the model's width, from which transformers computes some "auto" values
SECTIONS = ("zero_optimization", "optimizer", "scheduler", "fp16", "bf16")
# Section of a file → the flags that it replaces.
INSTEAD = {"optimizer": ("optim", "optim_args"), "scheduler": ("lr_scheduler_type", "lr_scheduler_kwargs")}
OFFLOADS = {"offload_param": 3, "offload_optimizer": 1}  # what is offloaded → the first ZeRO stage that does it
OTHER_WAYS = ("pipeline", "tensor_parallel")  # sections that cut a model over ranks in other ways than ZeRO
MAPPED_TO_CPU = (torch.optim.Adam, torch.optim.Adagrad)  # if offloaded, accelerate uses their CPU versions


def check_parsed(name: str, args: Any, optimizer: torch.optim.Optimizer) -> None:
    """Raise InputError unless DeepSpeed can start an engine with this file and these training arguments.

    Args:
        name: the file, or the name of one that comes with the package.
        args: training arguments that are bound to no device, without the argument `deepspeed`.
        optimizer: the optimizer that `args` ask for; it is used if the file names none.
    """
    startup.choose_accelerator()
    path = find_config(name)
    config = training_config(name) or {}
    for section in SECTIONS:
        if not isinstance(config.get(section, {}), dict):
            raise InputError(f"--deepspeed {path}: {section} is {config[section]!r}; expected an object of settings")
    if "zero_optimization" not in config:
        raise InputError(f'--deepspeed {path}: has no zero_optimization; add "zero_optimization": {{"stage": 0}}')
    try:
        _check(config, args, optimizer)
    except InputError as error:
        raise InputError(f"--deepspeed {path}: {error}") from None
    except Exception as error:  # the three libraries raise errors of many types
        raise InputError(f"--deepspeed {path}: {_in_words(error)}") from None


def _check(config: dict[str, Any], args: Any, optimizer: torch.optim.Optimizer) -> None:
    for section in OTHER_WAYS:
        if config.get(section):
            raise InputError(f"{section}: models are cut over ranks by ZeRO only; leave it out")
    filled = _filled(config, args)
    for place, value in _leaves(filled):
        if value == "auto":
            raise InputError(f'{place} is "auto", which nobody fills in there; write a value')
    names_optimizer = "optimizer" in filled
    if not names_optimizer:
        filled["zero_allow_untested_optimizer"] = True  # as transformers does
    parsed, unread = _parse(filled)
    if unread:
        raise InputError(f"{unread[0]}: DeepSpeed has no such setting; correct the name, or leave it out")
    if old := _deprecated(filled["zero_optimization"], parsed.zero_config):
        raise InputError("zero_optimization.{}: is an old name; write {}".format(*old))
    _check_offloads(parsed.zero_config)
    toy = nn.Parameter(torch.ones(4))
    engine = _engine(parsed)
    engine.get_data_types()  # raises for a name that is no type
    for section, flags in INSTEAD.items():
        for flag in flags:
            if section in filled and getattr(args, flag) != getattr(type(args), flag):
                raise InputError(f"names the {section}, so that --{flag} has no effect; leave one of them out")
    if names_optimizer:
        optimizer = _made(engine, toy)
    elif engine.zero_use_cpu_optimizer() and not isinstance(optimizer, MAPPED_TO_CPU):
        raise InputError(f"--optim {args.optim.value} cannot be offloaded; leave it out, or offload nothing")
    engine._scheduler_from_config(optimizer)


def _check_offloads(zero: Any) -> None:
    """Raise InputError for an offload that the stage does not make, which DeepSpeed drops or replaces in silence."""
    stage = int(zero.stage)
    for name, first in OFFLOADS.items():
        offload = getattr(zero, name)
        if offload is None or offload.device == "none":
            continue
        if stage < first:
            raise InputError(
                f"zero_optimization.{name}: stage {stage} offloads none; leave it out, or use stage {first}"
            )
        if offload.device == "nvme" and stage < 3:
            raise InputError(f"zero_optimization.{name}: offloads to nvme, which stage 3 alone does; write cpu")
        if offload.device == "nvme" and offload.nvme_path is None:
            raise InputError(f'zero_optimization.{name}: offloads to nvme; add "nvme_path", a folder on that drive')


def _filled(config: dict[str, Any], args: Any) -> dict[str, Any]:
    """Return the configuration with values for "auto", as transformers and accelerate fill it.

    Both libraries store the process's last configuration object, which decides how models are loaded. This function
    removes it again.
    """
    import deepspeed.comm
    from accelerate.utils import DeepSpeedPlugin
    from transformers.integrations.deepspeed import HfTrainerDeepSpeedConfig

    try:
        held = HfTrainerDeepSpeedConfig(config)
        held.trainer_config_process(args)
        DeepSpeedPlugin(hf_ds_config=held)
        model = SimpleNamespace(config=SimpleNamespace(hidden_size=ANY_WIDTH))
        held.trainer_config_finalize(args, model, max(args.max_steps, 1))
    finally:
        forget_partitioning()
    filled: dict[str, Any] = held.config
    if isinstance(filled.get("train_batch_size"), int):  # until the ranks meet, DeepSpeed assumes one rank
        ranks = deepspeed.comm.get_world_size() if deepspeed.comm.is_initialized() else 1
        filled["train_batch_size"] = filled["train_batch_size"] * ranks // args.world_size
    if filled["zero_optimization"].get("stage", 0) < 3:  # then stage3_ settings are neither read nor filled in
        zero = filled["zero_optimization"]
        filled["zero_optimization"] = {k: v for k, v in zero.items() if not (k.startswith("stage3_") and v == "auto")}
    return filled


def _leaves(tree: dict[str, Any], place: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{place}{name}.")
        else:
            yield f"{place}{name}", value


class _Asked(dict[str, Any]):
    """Dictionary that records, in `asked`, every key that was looked up."""

    def __init__(self, content: dict[str, Any]) -> None:
        super().__init__(content)
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self.asked.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.asked.add(name)
        return super().get(name, default)

    def __contains__(self, name: object) -> bool:
        self.asked.add(str(name))
        return super().__contains__(name)

    def keys(self) -> Any:
        return self  # so that `name in config.keys()` is noted, too


def _parse(filled: dict[str, Any]) -> tuple[Any, list[str]]:
    """Let DeepSpeed parse the configuration; return the result, and the top-level names that DeepSpeed never read."""
    from deepspeed import DeepSpeedConfig

    watched = _Asked(filled)
    parsed = DeepSpeedConfig(watched)
    return parsed, [name for name in filled if name not in watched.asked]


def _deprecated(given: dict[str, Any], model: Any) -> tuple[str, str] | None:
    """Return the first name in `given` that DeepSpeed calls deprecated, and its replacement; None if there is none."""
    for name, one in type(model).model_fields.items():
        extra = one.json_schema_extra or {}
        if extra.get("deprecated") and (used := {name, one.alias} & set(given)):
            return used.pop(), extra.get("new_param") or "its replacement"
    return None


def _engine(parsed: Any) -> Any:
    """Return a DeepSpeed engine that knows its configuration and nothing else: no model, no other ranks."""
    from deepspeed.runtime.engine import DeepSpeedEngine

    engine = DeepSpeedEngine.__new__(DeepSpeedEngine)
    nn.Module.__init__(engine)
    engine._config, engine.client_optimizer = parsed, None
    return engine


def _made(engine: Any, toy: nn.Parameter) -> torch.optim.Optimizer:
    """Return the optimizer that the file names, as the engine makes it.

    Raises:
        InputError: DeepSpeed does not know the optimizer; or DeepSpeed has not tested it with ZeRO, and the file does
            not allow untested optimizers.
    """
    from deepspeed.runtime.zero.utils import ZERO_SUPPORTED_OPTIMIZERS

    name = engine.optimizer_name()
    if name is None or not engine._is_supported_optimizer(name):
        raise InputError(f"optimizer.type is {name}, which DeepSpeed does not have; write AdamW")
    made: torch.optim.Optimizer = engine._configure_basic_optimizer([toy])
    tested = type(made) in ZERO_SUPPORTED_OPTIMIZERS or engine.zero_allow_untested_optimizer()
    if engine.zero_optimization() and not tested:
        raise InputError(
            f"optimizer.type is {name}, which DeepSpeed has not tested with ZeRO; write AdamW, or add "
            '"zero_allow_untested_optimizer": true'
        )
    return made


def _in_words(error: Exception) -> str:
    """Return an error as one line; if pydantic lists several errors, return the first, with the setting's name."""
    listed = getattr(error, "errors", None)
    if callable(listed):
        first = listed()[0]
        place = ".".join(str(part) for part in (getattr(error, "title", ""), *first["loc"]) if part != "")
        return f"{place}: {first['msg']}"
    if isinstance(error, AttributeError | TypeError | KeyError):
        return f"a setting has a value of the wrong type ({error})"
    return str(error) or type(error).__name__
