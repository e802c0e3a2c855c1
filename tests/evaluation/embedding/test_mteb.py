"""Test that mteb, with the real sentence-transformers on an exported folder, finds the numbers that we find."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset, DatasetDict
from sentence_models import parallel_texts, retrieval_set, scored_pairs

from bistil_ds import export_model
from bistil_ds.evaluation import evaluate

mteb = pytest.importorskip("mteb")
sentence_transformers = pytest.importorskip("sentence_transformers")

ABOUT = {
    "description": "Made-up words.",
    "reference": "https://example.org",
    "dataset": {"path": "none", "revision": "none"},
    "category": "t2t",
    "eval_splits": ["test"],
    "eval_langs": ["eng-Latn"],
    "date": ("2026-01-01", "2026-01-01"),
    "dialect": [],
    "domains": [],
    "task_subtypes": [],
    "license": "mit",
    "annotations_creators": "derived",
    "modalities": ["text"],
    "sample_creation": "created",
    "bibtex_citation": "",
}


def task_of(base: type[Any], kind: str, main_score: str, data: Any) -> Any:
    """Return a task of mteb with its data in memory."""

    def load_data(self: Any, **_: Any) -> None:
        self.dataset, self.data_loaded = data, True

    metadata = mteb.TaskMetadata(type=kind, name=f"Tiny{kind}", main_score=main_score, **ABOUT)
    about = {"metadata": metadata, "load_data": load_data, "min_score": 0, "max_score": 2, "ignore_identical_ids": True}
    return type(f"Tiny{kind}", (base,), about)()


def columns(**named: Any) -> Any:
    return DatasetDict(test=Dataset.from_dict({name: list(values) for name, values in named.items()}))


def test_mteb_finds_the_same_scores(embedders: dict[str, Path], test_sets: dict[str, str], tmp_path: Path) -> None:
    one, other = parallel_texts()
    first, second, gold = zip(*scored_pairs(), strict=True)
    queries, documents, judged = retrieval_set()
    split = {
        "corpus": Dataset.from_list(
            [{"id": n, "title": title, "text": text} for n, (title, text) in documents.items()]
        ),
        "queries": Dataset.from_list([{"id": name, "text": text} for name, text in queries.items()]),
        "relevant_docs": judged,
        "top_ranked": None,
    }
    kinds = pytest.importorskip("mteb.abstasks")
    bitext, sts, retrieval = kinds.AbsTaskBitextMining, kinds.AbsTaskSTS, kinds.AbsTaskRetrieval
    tasks = {
        "accuracy_forward": task_of(bitext, "BitextMining", "accuracy", columns(sentence1=one, sentence2=other)),
        "accuracy_backward": task_of(bitext, "BitextMining", "accuracy", columns(sentence1=other, sentence2=one)),
        "spearman": task_of(sts, "STS", "cosine_spearman", columns(sentence1=first, sentence2=second, score=gold)),
        "ndcg@10": task_of(retrieval, "Retrieval", "ndcg_at_10", {"default": {"test": split}}),
    }
    exported = export_model(embedders["teacher"], task="embed", output_dir=tmp_path / "exported")
    model = mteb.SentenceTransformerEncoderWrapper(
        sentence_transformers.SentenceTransformer(str(exported), device="cpu")
    )
    found = evaluate({"m": embedders["teacher"]}, test_sets, "embed", resamples=5, progress=False)
    for (metric, task), language in zip(tasks.items(), ("pairs", "pairs", "scored", "found"), strict=True):
        scores = task.evaluate(model, "test", encode_kwargs={"batch_size": 8, "show_progress_bar": False})["default"]
        assert found.score(metric, "m", language).value == pytest.approx(scores[task.metadata.main_score], abs=2e-5)
        assert 0.2 < scores[task.metadata.main_score] < 1
    assert found.score("recall@100", "m", "found").value == pytest.approx(scores["recall_at_100"], abs=2e-5)
