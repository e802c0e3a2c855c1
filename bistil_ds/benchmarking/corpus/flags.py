"""Define the flags of the corpus benchmark, and plan its run.

Corpus and vocabulary are generated. Each preparation runs in a process of its own, which may not have more anonymous
memory than `--limit_gb`; that of memory-mapped files, which the system can take back, does not count. The folder for
temporary files (TMPDIR) takes five times the corpus, and with `datasets` ten times.
"""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from bistil_ds.benchmarking.corpus.material import SHAPES, make_tokenizer, make_words, write_corpus
from bistil_ds.benchmarking.corpus.measure import measure
from bistil_ds.benchmarking.harness.benchmark import Job, Tell
from bistil_ds.benchmarking.harness.command import explain
from bistil_ds.benchmarking.harness.own_process import RemoteError, run_in_own_process
from bistil_ds.benchmarking.harness.result_file import RESULTS, ResultFile
from bistil_ds.errors import InputError
from bistil_ds.models.tokenizer_folder import save_tokenizer

GB = 1e9


@dataclass
class Flags:
    """Flags of the corpus benchmark."""

    gigabytes: list[float] = field(
        default_factory=lambda: [0.02, 0.06, 0.18], metadata=explain("Sizes of the corpus, with the first vocabulary.")
    )
    vocabulary: list[int] = field(
        default_factory=lambda: [250_002, 50_000, 100_000], metadata=explain("Sizes of the vocabulary.")
    )
    ranks: list[int] = field(
        default_factory=lambda: [1, 2, 3], metadata=explain("Ranks that open a prepared corpus at once.")
    )
    shape: str = field(default="lines", metadata=explain("How the corpus is divided into texts.", SHAPES))
    way: list[str] = field(
        default_factory=lambda: ["ours", "datasets"], metadata=explain("Ways to prepare it.", ["ours", "datasets"])
    )
    limit_gb: float = field(default=3.0, metadata=explain("Anonymous memory that a process may have; 0: no limit."))
    quick: bool = field(default=False, metadata=explain("1 to 3 MB, small vocabularies."))
    output_dir: str = field(default=str(RESULTS), metadata=explain("Where the result file goes."))


def plan(flags: Flags) -> Job:
    """Check the flags and plan the run."""
    for name in ("gigabytes", "vocabulary", "ranks"):
        if wrong := [value for value in getattr(flags, name) if not value > 0]:
            raise InputError(f"--{name} {wrong[0]}: expected more than 0")
    if small := [size for size in flags.vocabulary if size < 1000]:
        raise InputError(f"--vocabulary {small[0]}: expected at least 1,000")
    if flags.limit_gb < 0:
        raise InputError(f"--limit_gb {flags.limit_gb}: expected at least 0")
    sizes = [0.001, 0.002, 0.003] if flags.quick else flags.gigabytes
    vocabularies = [5_000, 2_000, 3_000] if flags.quick else flags.vocabulary
    limit = int(flags.limit_gb * GB) or None

    def run(result: ResultFile, tell: Tell) -> None:
        settings = [(size, vocabularies[0]) for size in sizes] + [(sizes[0], size) for size in vocabularies[1:]]
        for number, (size, vocabulary) in enumerate(settings):
            with tempfile.TemporaryDirectory() as work:
                tell(number / len(settings), f"{size:g} GB, vocabulary of {vocabulary:,}")
                folder, tokenizer = Path(work), make_tokenizer(vocabulary)
                save_tokenizer(tokenizer, folder / "tokenizer")
                corpus, written = write_corpus(folder, int(size * GB), flags.shape, make_words(tokenizer))
                known = {"shape": flags.shape, "text_bytes": written, "vocabulary": vocabulary}
                for way in flags.way:
                    result.content["rows"].append({**known, "way": way, **_try(1, way, corpus, limit)})
                    result.save()
                for ranks in flags.ranks if number == 0 and "ours" in flags.way else ():
                    found = _try(ranks, "further rank", corpus, limit)
                    result.content["rows"].append({**known, "way": "further rank", "ranks": ranks, **found})

    return Job(torch.device("cpu"), run, seeds={"vocabulary, words and corpus": 0})


def _try(ranks: int, way: str, corpus: Path, limit: int | None) -> dict[str, Any]:
    """Return what the slowest and the largest of `ranks` processes at once found, or why there is nothing."""

    def one(_: int) -> dict[str, Any]:
        found: dict[str, Any] = run_in_own_process(measure, way, corpus, corpus.parent / "tokenizer", limit)
        return found

    try:
        with ThreadPoolExecutor(ranks) as pool:
            found = list(pool.map(one, range(ranks)))
    except RemoteError as error:
        return {"unavailable": str(error)}
    slowest = max(found, key=lambda each: sum(each["seconds"].values()))
    return {**slowest, "peak_bytes": max(each["peak_bytes"] for each in found)}
