"""Seconds and peak memory of trimming, building and one training step at the size of XLM-R-base and mBERT, without weights.

The teacher is drawn at random from the real configuration, its vocabulary is generated at full size, and so are the two
corpora. Each stage is a process of its own, so that its peak resident memory is its own; it includes the interpreter with
its libraries (row "imports only"), loading the models from disk and writing the result.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

from rich.console import Console
from rich.table import Table

MODELS = ("xlm-roberta-base", "bert-base-multilingual-cased")
STAGES = ("imports", "trim", "build", "step")
ALPHABETS = (
    "abcdefghijklmnopqrstuvwxyz",
    "абвгдежзийклмнопрстуфхцчшщыэюя",
    "ابتثجحخدذرزسشصضطظعغفقكلمنهوي",
    "अआइईउएकखगघचजटडतदनपबमयरलवसह",
)


def make_pieces(count: int, prefix: str, suffix: str) -> list[str]:
    """`count` pieces, first the letters of each script, then strings of 2 to 8 of them; half start or continue a word."""
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
    weights = [1 / (rank + 10) for rank in range(len(words))]
    with open(path, "w", encoding="utf-8") as file:
        for _ in range(lines):
            chosen = draw.choices(words, weights, k=22)
            file.write(" ".join([*chosen[:18], chosen[18] + chosen[19], chosen[20] + chosen[21]]) + "\n")


def make_teacher(name: str, folder: Path, quick: bool) -> None:
    """Model, tokenizer and corpora below `folder`."""
    import torch
    from transformers import (
        BertConfig,
        BertForMaskedLM,
        BertTokenizer,
        XLMRobertaConfig,
        XLMRobertaForMaskedLM,
        XLMRobertaTokenizer,
    )

    torch.manual_seed(0)
    small = (
        {"hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 128} if quick else {}
    )
    if name == MODELS[0]:
        size = 5_000 if quick else 250_002
        pieces = make_pieces(size - 5, "▁", "")
        specials = [(piece, 0.0) for piece in ("<s>", "<pad>", "</s>", "<unk>")]
        scored = [(piece, -4.0 - 12.0 * rank / size) for rank, piece in enumerate(pieces)]
        tokenizer = XLMRobertaTokenizer(vocab=[*specials, *scored, ("<mask>", 0.0)])
        starts = [piece[1:] for piece in pieces if piece.startswith("▁")]
        config = XLMRobertaConfig(
            vocab_size=size, max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5, **small
        )
        model = XLMRobertaForMaskedLM(config)
    else:
        size = 5_000 if quick else 119_547
        specials = ["[PAD]", *(f"[unused{i}]" for i in range(1, 100)), "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        pieces = make_pieces(size - len(specials), "", "##")
        tokenizer = BertTokenizer(vocab={piece: i for i, piece in enumerate([*specials, *pieces])}, do_lower_case=False)
        starts = [piece for piece in pieces if not piece.startswith("##")]
        model = BertForMaskedLM(BertConfig(vocab_size=size, **small))
    assert len(tokenizer) == size
    model.save_pretrained(folder / "teacher")
    tokenizer.save_pretrained(folder / "teacher")
    for language, alphabet in (("source", ALPHABETS[0]), ("target", ALPHABETS[1])):
        make_corpus(folder / f"{language}.txt", alphabet, starts, 2_000 if quick else 100_000)


def imports(folder: Path, quick: bool) -> dict[str, object]:
    """Nothing: what the libraries alone take."""
    return {}


def trim(folder: Path, quick: bool) -> dict[str, object]:
    """Load teacher and corpora, trim, save."""
    from datasets import load_dataset
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    from bistil_ds.vocabulary import save_kept_ids, trim_vocabulary

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


def build(folder: Path, quick: bool) -> dict[str, object]:
    """Load the trimmed teacher, build a student of every second layer, save."""
    from transformers import AutoModelForMaskedLM

    from bistil_ds.student import build_student

    built = build_student(AutoModelForMaskedLM.from_pretrained(folder / "trimmed"), layer_reduction_factor=2)
    built.student.save_pretrained(folder / "student")
    (folder / "layer_map.json").write_text(json.dumps(built.layer_map))
    return {"parameters": sum(p.numel() for p in built.student.parameters())}


def step(folder: Path, quick: bool) -> dict[str, object]:
    """Load both models, one phase-1 step of 8 × 256 tokens in fp32: forward, backward, AdamW."""
    import torch
    from transformers import AutoModelForMaskedLM

    from bistil_ds.distillation import Distiller

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
    return {"loss": float(terms.total), "step_seconds": time.perf_counter() - start}


def run_stage(stage: Callable[[Path, bool], dict[str, object]], folder: Path, quick: bool) -> None:
    """In the stage's own process: import, run, print one line of JSON."""
    import bistil_ds.distillation  # noqa: F401  so that every stage's peak starts from the same libraries

    start = time.perf_counter()
    result = stage(folder, quick)
    result["seconds"] = time.perf_counter() - start
    # Not `ru_maxrss`, which a child inherits from the process that started it.
    status = Path("/proc/self/status").read_text()
    result["peak_bytes"] = 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    print(json.dumps(result))


def measure(name: str, quick: bool, console: Console) -> dict[str, dict[str, object]]:
    """All stages of one model."""
    results = {}
    with tempfile.TemporaryDirectory() as work, console.status("") as status:
        for stage in ("prepare", *STAGES):
            status.update(f"{name}: {stage}")
            command = [sys.executable, __file__, "--stage", stage, "--model", name, "--folder", work]
            done = subprocess.run([*command, *["--quick"] * quick], stdout=subprocess.PIPE, text=True, check=True)
            if stage != "prepare":
                results[stage] = json.loads(done.stdout.splitlines()[-1])
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small vocabulary and model, under a minute")
    parser.add_argument("--output_dir", type=Path, default=Path(__file__).parent / "results")
    for name in ("--stage", "--model", "--folder"):  # one stage in a process of its own
        parser.add_argument(name, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.stage == "prepare":
        return make_teacher(arguments.model, Path(arguments.folder), arguments.quick)
    if arguments.stage:
        return run_stage(globals()[arguments.stage], Path(arguments.folder), arguments.quick)

    from bistil_ds.run_record import git_state, hardware, versions

    console = Console()
    results = {name: measure(name, arguments.quick, console) for name in MODELS}
    table = Table("model", "stage", "seconds", "peak memory", title="Full size without weights")
    for name, stages in results.items():
        for stage, result in stages.items():
            label = "imports only" if stage == "imports" else stage
            table.add_row(name, label, f"{result['seconds']:.1f}", f"{result['peak_bytes'] / 2**30:.2f} GiB")  # type: ignore[operator]
    console.print(table)
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    path = arguments.output_dir / f"full_size{'-quick' if arguments.quick else ''}-cpu-{date.today()}.json"
    about = {"versions": versions(), "git": git_state(Path(__file__).parent), "hardware": hardware()}
    path.write_text(json.dumps({"quick": arguments.quick, **about, "results": results}, indent=1) + "\n")
    console.print(f"written to {path}")


if __name__ == "__main__":
    main()
