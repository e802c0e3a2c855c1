"""JSON and YAML files of runs, students, models and evaluations, each with the functions that read it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import tiny

from bistil_ds.benchmarking.harness.result_file import read_result
from bistil_ds.console.yaml_file import parse_yaml, read_yaml
from bistil_ds.distributed.config import check_deepspeed, read_config, training_config
from bistil_ds.embedding.sentence_files import dense_weights, settings_of_folder
from bistil_ds.embedding.settings import SentenceSettings
from bistil_ds.evaluation.training_text import recorded_training_texts
from bistil_ds.export.card_facts import base_facts
from bistil_ds.export.card_scores import read_scores
from bistil_ds.models.config_file import check_weight_files
from bistil_ds.models.inputs import load_config, longest_input
from bistil_ds.models.model_card import read_data_card, read_model_card
from bistil_ds.models.sentence_folder import check_sentence_files
from bistil_ds.models.weight_files import WeightFolder, shard_paths
from bistil_ds.runs import holding
from bistil_ds.runs.bounded import parse_json
from bistil_ds.runs.record import RunRecord, check_same_run, read_start
from bistil_ds.student.folder import base_vocab_size, kept_ids_of, read_layer_map
from bistil_ds.student.origin import known_languages, model_licences
from bistil_ds.tasks import find_task
from bistil_ds.tasks.candidates import ModelChoice
from bistil_ds.trimming.agreement import Agreement
from bistil_ds.trimming.record import TrimRecord, read_trim_record
from bistil_ds.vocabulary import load_kept_ids
from bistil_ds.vocabulary.report import Segmentation, Size, TrimReport
from fuzz.family import Family
from fuzz.mutation import ODD_TEXTS, mutated_bytes, mutated_json

HASH = "0" * 64
SCORE = {"value": 0.5, "low": 0.4, "high": None}
TAGS = r"""
!!bool maybe  !!int ''  !!float ''  !!timestamp x  !!binary x  !!set {a, b}  !!omap [a: 1]  !!python/object:os.system x
&a [*a]  *missing  2020-13-45  0x_  1:99  <<: 1  ? [a]  '\ud800'  "\0"  "\ud800"  !!null x  !!str  =  ~  .inf  1e400
!!pairs 3  !!map x  |  >-  %YAML 9
"""  # line ends or two spaces part them
YAML_TAGS = re.split(r"\n|  ", TAGS.strip())


def _record() -> dict[str, Any]:
    return {
        "command": ["general.py", "--hub_token", "x", "--max_steps=9"],
        "arguments": {
            "task": "ner",
            "train_file": ["en=run.json"],
            "columns": ["a=b"],
            "max_steps": 9,
            "hub_token": "x",
        },
        "data": {"aa": {"file": "aa.txt", "sha256": HASH}, "en=train.txt": HASH},
        "git": {"commit": "x"},
        "versions": {"torch": "2"},
        "results": {"build": {"family": "xlm-roberta"}, "stages": [{"stage": "full"}]},
    }


def _trim_record() -> dict[str, Any]:
    size, cut = Size(9, 99, 999), Segmentation(3, 1.0, 1.0, 0.0, 0.0, 1.0)
    agreement = {"aa": Agreement(**dict.fromkeys(Agreement.__dataclass_fields__, 1))}
    record = TrimRecord("x", HASH, "--coverage 0.9", 9, "MIT", TrimReport(size, size, {"aa": cut}), agreement)
    return asdict(record)


def _evaluation() -> dict[str, Any]:
    model = {"weights_sha256": HASH, "languages": {"en": {"score": {"f1": SCORE, "precision": SCORE}}}}
    test_set = {"source": "a/en.txt", "sha256": HASH, "examples": 9, "seen_in_training": 0.0, "metric": "f1"}
    return {"task": "ner", "metric": "f1", "models": {"m": model}, "test_sets": {"en": test_set}, "run": {}}


def _modules() -> list[dict[str, Any]]:
    kind = "sentence_transformers.models"
    names = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Dense", "2_Dense"), ("Normalize", "3_Normalize")]
    return [{"idx": n, "name": str(n), "path": path, "type": f"{kind}.{name}"} for n, (name, path) in enumerate(names)]


DENSE = {"in_features": 32, "out_features": 8, "bias": True, "activation_function": tiny.TANH}
SENTENCE = {"pooling": ["mean"], "normalise": True, "prompts": {"q": "q: "}, "default_prompt": "q", "max_length": 9}
DEEPSPEED = {"zero_optimization": {"stage": 3}, "train_batch_size": "auto", "bf16": {"enabled": False}}
FLAGS = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 1, "max_grad_norm": 1.0, "bf16": False}
FLAGS |= {"fp16": False, "learning_rate": 1e-4, "weight_decay": 0.0, "adam_beta1": 0.9, "adam_beta2": 0.999}
FLAGS |= {"adam_epsilon": 1e-8, "warmup_steps": 0, "max_steps": 9}


@cache
def _config() -> dict[str, Any]:
    return {
        **tiny.xlmr(40, layers=1).config.to_dict(),
        "architectures": ["XLMRobertaForMaskedLM"],
        "sentence": SENTENCE,
    }


def _read_sentence_folder(folder: Path) -> None:
    settings_of_folder(folder, "--model")
    check_sentence_files(folder, 32, "--model")
    dense_weights(folder, "--model")


def _read_config(folder: Path) -> None:
    config = load_config("--model", folder)
    longest_input(config)
    SentenceSettings.of_config(config, "x")
    check_weight_files(folder, "--model")


def _read_run(folder: Path) -> None:
    arguments, _ = read_start(folder)
    check_same_run({"max_steps": 9}, arguments, ["max_steps"], folder)
    recorded_training_texts([ModelChoice("m", str(folder))], find_task("ner"))
    base_facts(str(folder))
    RunRecord.open(folder).update(results={"x": 1})
    read_start(folder)


def _read_student(folder: Path) -> None:
    kept_ids_of(str(folder), 40)
    load_kept_ids(folder)
    base_vocab_size(folder)
    read_layer_map(folder)
    model_licences(str(folder))
    known_languages(str(folder))
    base_facts(str(folder))


def _read_card(folder: Path) -> None:
    read_model_card(str(folder))
    read_data_card(str(folder))


def _read_deepspeed(folder: Path) -> None:
    path = folder / "ds.json"
    read_config(path)
    check_deepspeed({**FLAGS, "deepspeed": str(path)})
    training_config(str(path))


def _read_lock(folder: Path) -> None:
    holding.check_free(folder)
    holding.hold(folder)
    holding.let_go(folder)


def _read_yaml(folder: Path) -> None:
    read_yaml(folder / "recipe.yaml")


@dataclass(frozen=True)
class _Kind:
    """Files that belong together, by name, and what reads them."""

    files: Callable[[], dict[str, Any]]
    read: Callable[[Path], object]


STUDENT = {
    "kept_ids.json": {"base_vocab_size": 40, "kept_ids": [0, 1, 2, 5]},
    "distillation.json": {"teacher": "x/y", "languages": ["aa", "bb"], "layer_map": [0, 2]},
    "origin.json": {"licences": {"model x": "MIT"}, "teacher_languages": ["aa"]},
    "run.json": _record(),
}
FOLDER: dict[str, Any] = {
    "modules.json": _modules(),
    "1_Pooling/config.json": tiny.POOLING,
    "2_Dense/config.json": DENSE,
    "config_sentence_transformers.json": tiny.PROMPTS,
    "sentence_bert_config.json": {"max_seq_length": 32, "do_lower_case": False},
    "tokenizer_config.json": {"model_max_length": 64},
}
INDEX = {"metadata": {}, "weight_map": {"w": "model-1.safetensors", "v": "model-2.safetensors"}}
YAML = "task: ner\ntrain_file: [en=a.txt, tr=b.txt]\nlearning_rate: 1e-4\nlabel_map: {DATE: O}\nmax_length: 64\n"
KINDS = {
    "run": _Kind(lambda: {"run.json": _record()}, _read_run),
    "trim": _Kind(lambda: {"trimming.json": _trim_record()}, read_trim_record),
    "scores": _Kind(lambda: {"e.json": _evaluation()}, lambda folder: read_scores(str(folder / "e.json"), HASH)),
    "student": _Kind(lambda: STUDENT, _read_student),
    "sentence": _Kind(lambda: FOLDER, _read_sentence_folder),
    "config": _Kind(lambda: {"config.json": _config()}, _read_config),
    "index": _Kind(
        lambda: {"model.safetensors.index.json": INDEX},
        lambda folder: (shard_paths(folder / "model.safetensors.index.json"), list(WeightFolder(folder))),
    ),
    "deepspeed": _Kind(lambda: {"ds.json": DEEPSPEED}, _read_deepspeed),
    "lock": _Kind(lambda: {".lock": {"run": "x", "pid": 1, "host": "h", "since": "today"}}, _read_lock),
    "benchmark": _Kind(
        lambda: {"r.json": {"benchmark": "latency", "rows": [{"model": "x", "seconds": [1.0]}], "arguments": {}}},
        lambda folder: read_result(folder / "r.json"),
    ),
    "card": _Kind(lambda: {"README.md": f"---\nlicense: mit\nlanguage: [en, no]\n{YAML}---\n# x\n"}, _read_card),
    "yaml": _Kind(lambda: {"recipe.yaml": YAML}, _read_yaml),
    "values": _Kind(lambda: {"v.json": [1, 2.5, {"a": [None, "x"]}]}, lambda folder: _parse(folder / "v.json")),
}


def _parse(path: Path) -> None:
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    for parse in (parse_json, lambda text: parse_json(text, finite=False), parse_yaml):
        try:
            parse(text)
        except ValueError:
            continue


def make(rng: Random) -> tuple[dict[str, bytes], dict[str, Any]]:
    kind = rng.choice(list(KINDS))
    contents = KINDS[kind].files()
    changed = rng.choice(sorted(contents))
    files: dict[str, bytes] = {}
    for name, content in contents.items():
        if isinstance(content, str):
            files[name] = _odd_yaml(rng, content) if name == changed else content.encode()
        else:
            files[name] = mutated_json(rng, content) if name == changed else json.dumps(content).encode()
    if rng.random() < 0.02:
        del files[changed]
    return files, {"kind": kind}


def _odd_yaml(rng: Random, text: str) -> bytes:
    lines = text.split("\n")
    for _ in range(rng.choice([1, 1, 2])):
        at = rng.randrange(len(lines))
        name = lines[at].partition(":")[0]
        lines[at] = rng.choice(
            [f"{name}: {rng.choice([*YAML_TAGS, *ODD_TEXTS])}", rng.choice(YAML_TAGS), f"  {lines[at]}"]
        )
    data = "\n".join(lines).encode("utf-8", errors="surrogatepass")
    return mutated_bytes(rng, data) if rng.random() < 0.2 else data


def run(folder: Path, about: Mapping[str, Any]) -> None:
    """Read the files of a folder as a command does."""
    KINDS[about["kind"]].read(folder)


FAMILY = Family("JSON and YAML", 0.12, make, run)
