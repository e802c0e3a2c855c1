"""Find DeepSpeed configuration files, read them, and check them against the command-line flags."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from bistil_ds.console.user_path import user_path
from bistil_ds.distributed import startup
from bistil_ds.errors import InputError
from bistil_ds.runs.files import read_json


def find_config(name: str) -> Path:
    """Return the path of a DeepSpeed configuration file.

    `name` is a path, or the name of a file that comes with the package, such as `zero2` or `zero2.json`.

    Raises:
        InputError: there is no such file.
    """
    path = user_path(name)
    if path.is_file():
        return path.resolve()
    package = Path(str(resources.files("bistil_ds")))
    folders = [package / "ds_configs", package.parent / "ds_configs"]
    for folder in folders:
        shipped = folder / f"{path.stem}.json"
        if shipped.is_file() and path.suffix in ("", ".json") and str(path.parent) in (".", "ds_configs"):
            return shipped
    known = sorted({p.stem for folder in folders for p in folder.glob("*.json")})
    raise InputError(f"--deepspeed {name}: no such file; give a JSON file or one of {', '.join(known)}")


def read_config(path: Path) -> dict[str, Any]:
    """Return the content of a DeepSpeed configuration file.

    Raises:
        InputError: the file cannot be read, or is not a JSON object.
    """
    return read_json(path, "give a DeepSpeed file", flag="--deepspeed")


def check_deepspeed(flags: Mapping[str, Any]) -> None:
    """Raise InputError if the DeepSpeed file is missing, contradicts the flags, or has a ZeRO stage other than 0 to 3.

    Args:
        flags: argument name → value. Without a value for `deepspeed`, nothing is checked.
    """
    if not flags["deepspeed"]:
        return
    path = find_config(flags["deepspeed"])
    config = read_config(path)
    batch, accumulation = flags["per_device_train_batch_size"], flags["gradient_accumulation_steps"]
    expected = {
        "train_micro_batch_size_per_gpu": ("--per_device_train_batch_size", batch),
        "gradient_accumulation_steps": ("--gradient_accumulation_steps", accumulation),
        "train_batch_size": ("batch x accumulation x ranks", batch * accumulation * startup.world_size()),
        "gradient_clipping": ("--max_grad_norm", flags["max_grad_norm"]),
        "bf16.enabled": ("--bf16", flags["bf16"]),
        "fp16.enabled": ("--fp16", flags["fp16"]),
        "optimizer.params.lr": ("--learning_rate", flags["learning_rate"]),
        "optimizer.params.weight_decay": ("--weight_decay", flags["weight_decay"]),
        "optimizer.params.betas": ("--adam_beta1, --adam_beta2", [flags["adam_beta1"], flags["adam_beta2"]]),
        "optimizer.params.eps": ("--adam_epsilon", flags["adam_epsilon"]),
        "scheduler.params.warmup_max_lr": ("--learning_rate", flags["learning_rate"]),
        "scheduler.params.warmup_num_steps": ("--warmup_steps", flags["warmup_steps"]),
        "scheduler.params.total_num_steps": ("--max_steps", flags["max_steps"]),
    }
    for key, (flag, value) in expected.items():
        found: Any = config
        for part in key.split("."):
            found = found.get(part) if isinstance(found, dict) else None
        if found not in (None, "auto", value):
            raise InputError(f'--deepspeed {path}: {key} is {found}, but {flag} is {value}; write "auto" in the file')
    zero = config.get("zero_optimization", {})
    stage = zero.get("stage", 0) if isinstance(zero, dict) else None
    if stage not in (0, 1, 2, 3):
        raise InputError(f"--deepspeed {path}: zero_optimization.stage is {stage!r}; expected 0, 1, 2 or 3")


def zero_stage(name: str | None) -> int | None:
    """Return the ZeRO stage in a DeepSpeed file; None without a file.

    Raises:
        InputError: the file cannot be found or read.
    """
    return stage_of(str(find_config(name))) if name else None


def whole_config(deepspeed: str | dict[str, Any]) -> dict[str, Any]:
    """Return a DeepSpeed configuration, which may be given by its file."""
    return deepspeed if isinstance(deepspeed, dict) else read_config(Path(deepspeed))


def stage_of(deepspeed: str | dict[str, Any]) -> int:
    """Return the ZeRO stage of a DeepSpeed configuration, which may be given by its file."""
    stage: int = whole_config(deepspeed).get("zero_optimization", {}).get("stage", 0)
    return stage


def training_config(name: str | None) -> dict[str, Any] | None:
    """Return the configuration to train with; None without a file.

    At ZeRO-3, a setting is added to the file's content: it gathers the weights when a model is saved. Without it, only
    shards would be saved.
    """
    if not name:
        return None
    config = read_config(find_config(name))
    if zero_stage(name) == 3:
        config["zero_optimization"]["stage3_gather_16bit_weights_on_model_save"] = True
    return config


def forget_partitioning() -> None:
    """Make transformers load models whole, also at ZeRO-3, until training arguments with a DeepSpeed file are made."""
    from transformers.integrations import unset_hf_deepspeed_config

    unset_hf_deepspeed_config()


def load_universal(engine: Any, wanted: bool) -> None:
    """Tell a DeepSpeed engine whether the checkpoint it loads next is universal (fits any number of ranks)."""
    engine._config.load_universal_checkpoint = wanted
