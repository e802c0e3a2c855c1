"""Seconds and peak memory of trimming, building and one training step at the size of XLM-R-base and mBERT.

The teacher is drawn at random from the real configuration; its vocabulary, of the full size, and both corpora are
generated. Each stage is a process of its own, so that its peak resident memory is its own; it includes the libraries
(row "imports"), loading the models from disk and writing the result.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from datasets import load_dataset
from rich.console import Console
from rich.table import Table
from transformers import (
    AutoModelForMaskedLM,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    XLMRobertaConfig,
    XLMRobertaForMaskedLM,
    XLMRobertaTokenizer,
)

import bistil_ds
from bistil_ds.benchmarking.harness.result_file import RESULTS
from bistil_ds.distillation import Distiller
from bistil_ds.run_record import git_state, hardware, versions
from bistil_ds.student import build_student
from bistil_ds.vocabulary import save_kept_ids, trim_vocabulary

MODELS = ("xlm-roberta-base", "bert-base-multilingual-cased")
ALPHABETS = (
    "abcdefghijklmnopqrstuvwxyz",
    "абвгдежзийклмнопрстуфхцчшщыэюя",
    "ابتثجحخدذرزسشصضطظعغفقكلمنهوي",
    "अआइईउएकखगघचजटडतदनपबमयरलवसह",
)


def make_pieces(count: int, prefix: str, suffix: str) -> list[str]:
    """`count` pieces: the letters of each script, then 2 to 8 of them; half start a word, half continue one."""
    draw = random.Random(0)
    pieces = dict.fromkeys(mark + letter for alphabet in ALPHABETS for letter in alphabet for mark in (prefix, suffix))
    while len(pieces) < count:
        alphabet = draw.choice(ALPHABETS)
        word = "".join(draw.choices(alphabet, k=draw.randint(2, 8)))
        pieces[draw.choice((prefix, suffix)) + word] = None
    return list(pieces)[:count]


def make_corpus(path: Path, alphabet: str, starts: list[str], lines: int) -> None:
    """`lines` lines of 20 words: frequent pieces of one script (a tenth joined in twos), with a skewed distribution."""
    draw = random.Random(alphabet)
    words = [word for word in starts if set(word) <= set(alphabet)]
    weights = list(accumulate(1 / (rank + 10) for rank in range(len(words))))
    with open(path, "w", encoding="utf-8") as file:
        for _ in range(lines):
            chosen = draw.choices(words, cum_weights=weights, k=22)
            file.write(" ".join([*chosen[:18], chosen[18] + chosen[19], chosen[20] + chosen[21]]) + "\n")


def prepare(name: str, folder: Path, quick: bool) -> dict[str, Any]:
    """Write model, tokenizer and corpora below `folder`."""
    torch.manual_seed(0)
    small = {"hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 128}
    shape = small if quick else {}
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    if name == MODELS[0]:
        size = 5_000 if quick else 250_002
        pieces = make_pieces(size - 5, "▁", "")
        specials = [(piece, 0.0) for piece in ("<s>", "<pad>", "</s>", "<unk>")]
        scored = [(piece, -4.0 - 12.0 * rank / size) for rank, piece in enumerate(pieces)]
        tokenizer = XLMRobertaTokenizer(vocab=[*specials, *scored, ("<mask>", 0.0)])
        starts = [piece[1:] for piece in pieces if piece.startswith("▁")]
        shape |= {"max_position_embeddings": 514, "type_vocab_size": 1}
        model = XLMRobertaForMaskedLM(XLMRobertaConfig(vocab_size=size, layer_norm_eps=1e-5, **shape))
    else:
        size = 5_000 if quick else 119_547
        head = ["[PAD]", *(f"[unused{i}]" for i in range(1, 100)), "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        pieces = make_pieces(size - len(head), "", "##")
        tokenizer = BertTokenizer(vocab={piece: i for i, piece in enumerate([*head, *pieces])}, do_lower_case=False)
        starts = [piece for piece in pieces if not piece.startswith("##")]
        model = BertForMaskedLM(BertConfig(vocab_size=size, **shape))
    assert len(tokenizer) == size
    model.save_pretrained(folder / "teacher")
    tokenizer.save_pretrained(folder / "teacher")
    for language, alphabet in (("source", ALPHABETS[0]), ("target", ALPHABETS[1])):
        make_corpus(folder / f"{language}.txt", alphabet, starts, 2_000 if quick else 100_000)
    return {"rows": size}


def imports(folder: Path, quick: bool) -> dict[str, Any]:
    """Nothing: what the libraries alone take."""
    return {}


def trim(folder: Path, quick: bool) -> dict[str, Any]:
    """Load teacher and corpora, trim, save."""

    tokenizer = AutoTokenizer.from_pretrained(folder / "teacher")
    model = AutoModelForMaskedLM.from_pretrained(folder / "teacher")
    texts = [
        load_dataset("text", data_files=str(folder / f"{language}.txt"), split="train", cache_dir=str(folder / "cache"))
        for language in ("source", "target")
    ]
    start = time.perf_counter()
    trimmed = trim_vocabulary(model, tokenizer, *texts, progress=False)
    seconds = time.perf_counter() - start
    trimmed.model.save_pretrained(folder / "trimmed")
    trimmed.tokenizer.save_pretrained(folder / "trimmed")
    save_kept_ids(folder / "trimmed", trimmed.kept_ids, len(tokenizer))
    return {"report": trimmed.report.to_dict(), "trim_vocabulary_seconds": seconds}


def build(folder: Path, quick: bool) -> dict[str, Any]:
    """Load the trimmed teacher, build a student of every second layer, save."""

    built = build_student(AutoModelForMaskedLM.from_pretrained(folder / "trimmed"), layer_reduction_factor=2)
    built.student.save_pretrained(folder / "student")
    (folder / "layer_map.json").write_text(json.dumps(built.layer_map))
    return {"parameters": sum(p.numel() for p in built.student.parameters())}


def step(folder: Path, quick: bool) -> dict[str, Any]:
    """Load both models, one phase-1 step of 8 × 256 tokens in fp32: forward, backward, AdamW."""

    teacher, student = (AutoModelForMaskedLM.from_pretrained(folder / name) for name in ("trimmed", "student"))
    distiller = Distiller(student, teacher, json.loads((folder / "layer_map.json").read_text()))
    optimizer = torch.optim.AdamW([p for p in student.parameters() if p.requires_grad], lr=1e-4)
    torch.manual_seed(0)
    shape = (2, 64) if quick else (8, 256)
    batch = {"input_ids": torch.randint(5, student.config.vocab_size - 1, shape)}
    start = time.perf_counter()
    terms = distiller(student.train(), batch)
    terms.total.backward()
    optimizer.step()
    return {"loss": terms.total.item(), "step_seconds": time.perf_counter() - start}


def run_stage(stage: Callable[[Path, bool], dict[str, Any]], folder: Path, quick: bool) -> dict[str, Any]:
    """In the stage's own process."""
    start = time.perf_counter()
    result = stage(folder, quick)
    result["seconds"] = time.perf_counter() - start
    # Not `ru_maxrss`, which a child inherits from the process that started it.
    status = Path("/proc/self/status").read_text()
    result["peak_bytes"] = 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    return result


def measure(name: str, quick: bool, console: Console) -> dict[str, dict[str, Any]]:
    """All stages of one model. Each is forked from this process, which has imported the libraries and done nothing."""
    results = {}
    with tempfile.TemporaryDirectory() as work:
        for stage in (partial(prepare, name), imports, trim, build, step):
            label = getattr(stage, "__name__", "prepare")
            console.print(f"{name}: {label}")
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as process:
                results[label] = process.submit(run_stage, stage, Path(work), quick).result()
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small vocabulary and model, under a minute")
    parser.add_argument("--output_dir", type=Path, default=RESULTS)
    arguments = parser.parse_args()

    console = Console()
    results = {name: measure(name, arguments.quick, console) for name in MODELS}
    table = Table("model", "stage", "seconds", "peak memory", title="Full size without weights")
    for name, stages in results.items():
        for stage, result in stages.items():
            table.add_row(name, stage, f"{result['seconds']:.1f}", f"{result['peak_bytes'] / 1e9:.2f} GB")
    console.print(table)
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    path = arguments.output_dir / f"full_size{'-quick' if arguments.quick else ''}-cpu-{date.today()}.json"
    about = {"versions": versions(), "git": git_state(Path(bistil_ds.__file__).parent), "hardware": hardware()}
    path.write_text(json.dumps({"quick": arguments.quick, **about, "results": results}, indent=1) + "\n")
    console.print(f"written to {path}")
