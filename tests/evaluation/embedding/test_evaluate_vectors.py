"""Test evaluations of sentence vectors: numbers by hand, the reference, limits, tables, cards and bad input."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from sentence_models import PROMPTS, parallel_texts, retrieval_set, scored_pairs
from tiny import write_teacher

from bistil_ds.commands import evaluate as command
from bistil_ds.embedding.settings import SentenceSettings
from bistil_ds.embedding.vectors import encode
from bistil_ds.errors import InputError
from bistil_ds.evaluation import Evaluation, evaluate
from bistil_ds.evaluation.embedding.prompts import prompts_of
from bistil_ds.evaluation.embedding.sentence_sets import Encoder
from bistil_ds.evaluation.report import markdown, overview, scores, sources
from bistil_ds.export.card_scores import read_scores
from bistil_ds.tasks import find_task
from bistil_ds.tasks.models import load_task_model

Folders = dict[str, Path]
Sets = dict[str, str]


@pytest.fixture(scope="module")
def evaluation(embedders: Folders, test_sets: Sets) -> Evaluation:
    return evaluate(embedders, test_sets, "embed", batch_size=8, resamples=100, progress=False)


def vectors_of(folder: Path, texts: list[str], prompt: str) -> np.ndarray:
    loaded = load_task_model(str(folder), task=find_task("embed"))
    found = encode(loaded.model, loaded.tokenizer, texts, prompt=prompt)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def value(evaluation: Evaluation, metric: str, model: str, language: str) -> float:
    found = evaluation.score(metric, model, language)
    assert found is not None
    assert found.low <= found.value <= found.high
    return found.value


def test_parallel_texts_are_measured_as_by_hand(evaluation: Evaluation, embedders: Folders) -> None:
    one, other = (vectors_of(embedders["student"], texts, PROMPTS["query"]) for texts in parallel_texts())
    cosine, own = one @ other.T, np.arange(30)
    forward, backward = (cosine.argmax(1) == own).mean(), (cosine.argmax(0) == own).mean()
    assert 0.3 < forward < 1
    assert value(evaluation, "accuracy_forward", "student", "pairs") == pytest.approx(forward)
    assert value(evaluation, "accuracy_backward", "student", "pairs") == pytest.approx(backward)
    assert value(evaluation, "accuracy", "student", "pairs") == pytest.approx((forward + backward) / 2)
    assert value(evaluation, "xsim_forward", "student", "pairs") < 1


def test_scored_pairs_are_measured_as_by_hand(evaluation: Evaluation, embedders: Folders) -> None:
    first, second, gold = zip(*scored_pairs(), strict=True)
    one, other = (vectors_of(embedders["student"], list(texts), PROMPTS["query"]) for texts in (first, second))
    known = stats.spearmanr((one * other).sum(1), gold).statistic
    assert value(evaluation, "spearman", "student", "scored") == pytest.approx(known, abs=1e-6)


def test_queries_and_documents_get_their_own_prompts(evaluation: Evaluation, embedders: Folders) -> None:
    queries, documents, judged = retrieval_set()
    texts = [f"{title} {text}".strip() for title, text in documents.values()]
    asked = vectors_of(embedders["student"], list(queries.values()), PROMPTS["query"])
    order = np.argsort(-(asked @ vectors_of(embedders["student"], texts, PROMPTS["document"]).T), axis=1)
    names = list(documents)
    ranked = {q: [names[at] for at in row if names[at] != q][:100] for q, row in zip(queries, order, strict=True)}
    found = [len({n for n, g in judged[q].items() if g > 0} & set(ranked[q])) / 2 for q in queries]
    assert value(evaluation, "recall@100", "student", "found") == pytest.approx(np.mean(found))
    gains = [[judged[q].get(name, 0) / np.log2(2 + at) for at, name in enumerate(ranked[q][:10])] for q in queries]
    known = np.mean([sum(row) / (2 + 1 / np.log2(3)) for row in gains])
    assert 0.3 < known < 1
    assert value(evaluation, "ndcg@10", "student", "found") == pytest.approx(known)


def test_vectors_are_compared_with_the_references(evaluation: Evaluation, embedders: Folders) -> None:
    texts = list(dict.fromkeys(text for part in parallel_texts() for text in part))
    one, other = (vectors_of(embedders[name], texts, PROMPTS["query"]) for name in ("teacher", "student"))
    alike = dict(zip(texts, (one * other).sum(1), strict=True))
    both = [(alike[a] + alike[b]) / 2 for a, b in zip(*parallel_texts(), strict=True)]
    assert value(evaluation, "cosine", "student", "pairs") == pytest.approx(np.mean(both), abs=1e-6)
    near = [np.argsort(-(each @ each.T - 9 * np.eye(len(texts))), axis=1)[:, :10].tolist() for each in (one, other)]
    common = {text: len(set(a) & set(b)) / 10 for text, a, b in zip(texts, *near, strict=True)}
    both = [(common[a] + common[b]) / 2 for a, b in zip(*parallel_texts(), strict=True)]
    assert value(evaluation, "neighbours@10", "student", "pairs") == pytest.approx(np.mean(both))
    assert 0 < np.mean(both) < 1
    for name in ("pairs", "scored", "found"):
        assert evaluation.score("neighbours@10", "teacher", name) is None  # it is the reference itself
        assert evaluation.score("cosine", "narrow", name) is None  # of another width
        assert value(evaluation, "neighbours@10", "narrow", name) < 1
    assert evaluation.difference("cosine", "student", "pairs") is None


def test_a_model_beside_itself_is_alike_and_differs_by_nothing(embedders: Folders, test_sets: Sets) -> None:
    models = {"one": embedders["narrow"], "two": embedders["narrow"]}
    found = evaluate(models, test_sets, "embed", reference="two", resamples=20, progress=False)
    for language in test_sets:
        assert found.score("cosine", "one", language).value == pytest.approx(1, abs=1e-6)
        assert found.score("neighbours@10", "one", language).value == 1
    difference = found.difference("spearman", "one", "scored")
    assert (difference.value, difference.low, difference.high) == (0, 0, 0)


def test_tables_show_each_metric_where_it_belongs(evaluation: Evaluation) -> None:
    grid = overview(evaluation)
    assert grid.columns[3:] == ["examples/s", "pairs accuracy", "scored spearman", "found ndcg@10"]
    assert [row[0] for row in scores(evaluation, "spearman").rows] == ["scored"] * 3
    alike = scores(evaluation, "neighbours@10").rows
    assert [row[0] for row in alike] == [
        name for name in ("pairs", "scored", "found", "macro average") for _ in range(3)
    ]
    assert alike[0][2] == "–"
    text = markdown(evaluation)
    assert "with tokenising; an example is a text" in text
    assert text.count("A dash stands at the reference itself") == 1
    assert len([line for line in text.splitlines() if "vectors: pooling mean, then scaled to length 1" in line]) == 3
    assert text.count("### ") == 2 + len(evaluation.metrics)
    assert evaluation.metrics[:3] == ["accuracy", "spearman", "ndcg@10"]
    assert [row[1] for row in sources(evaluation).rows] == ["30", "30", "5"]


def test_one_model_alone_has_no_likeness(embedders: Folders, test_sets: Sets) -> None:
    found = evaluate({"m": embedders["student"]}, {"pairs": test_sets["pairs"]}, "embed", resamples=5, progress=False)
    assert found.metrics == ["accuracy", "accuracy_forward", "accuracy_backward", "xsim_forward", "xsim_backward"]
    json.dumps(found.as_json(), allow_nan=False)
    assert "A dash" not in markdown(found)


def test_a_limit_takes_the_first_examples_but_all_documents(
    embedders: Folders, test_sets: Sets, tmp_path: Path
) -> None:
    train = tmp_path / "train.txt"
    train.write_text("\n".join([parallel_texts()[0][0].upper(), parallel_texts()[1][1]]) + "\n")
    found = evaluate(
        {"m": embedders["student"]}, test_sets, "embed", limit=3, train_files=[train], resamples=5, progress=False
    )
    assert [len(held.examples) for held in found.plan.test_sets] == [3, 3, 3]
    assert found.plan.test_sets[2].inputs == 3 + 121
    assert [held.seen_in_training for held in found.plan.test_sets] == pytest.approx([2 / 6, 1 / 6, 1 / 3])


def test_the_command_writes_what_a_model_card_reads(
    embedders: Folders, test_sets: Sets, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tests = [f"{name}={source}" for name, source in test_sets.items()]
    flags = ["--task", "embed", "--resamples", "20", "--output_dir", str(tmp_path / "out"), "--test_file", *tests]
    models = [f"{name}={embedders[name]}" for name in ("teacher", "narrow")]
    assert command.main([*flags, "--model", *models]) == 0
    out = capsys.readouterr().out
    assert "spearman, per cent" in out
    made = "vectors: pooling mean, then scaled to length 1; prompts: query 'ba ', document 'ke '; at most"
    assert all(f"{name}: {made}" in out for name in ("teacher", "narrow"))
    content = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    narrow = content["models"]["narrow"]
    assert "cosine" not in narrow["languages"]["pairs"]["score"]
    assert "accuracy" in narrow["languages"]["pairs"]["difference_to_reference"]
    found = read_scores(str(tmp_path / "out" / "evaluation.json"), narrow["weights_sha256"])
    first = {score.language: score for score in reversed(found)}  # the first of each language
    assert {name: score.metric for name, score in first.items()} == {
        "pairs": "accuracy", "scored": "spearman", "found": "ndcg@10"
    }  # fmt: skip
    assert first["pairs"].test_set[0] == "one.txt,other.txt"
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["results"]["metric"] == "accuracy, spearman, ndcg@10"
    assert (
        record["results"]["scores"]["narrow"]["scored"] == narrow["languages"]["scored"]["score"]["spearman"]["value"]
    )


def test_a_model_that_does_not_say_how_it_pools_needs_the_flag(
    test_sets: Sets, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_teacher(tmp_path / "plain", layers=1)
    flags = ["--task", "embed", "--resamples", "5", "--output_dir", str(tmp_path / "out"), "--model", f"m={model}"]
    flags += ["--test_file", f"x={test_sets['pairs']}"]
    assert command.main(flags) == 2
    assert "does not say how it pools its states; give it with --pooling" in capsys.readouterr().err
    assert command.main([*flags, "--pooling", "best"]) == 2
    assert command.main([*flags, "--max_length", "4", "--pooling", "cls", "--prompt", "ba ke lo mi"]) == 2
    assert "error: --max_length 4: leaves no room for a text" in capsys.readouterr().err
    assert command.main([*flags, "--task", "mlm", "--pooling", "cls"]) == 2
    assert "--pooling: has no effect with --task mlm" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    capsys.readouterr()
    assert command.main([*flags, "--pooling", "cls", "--normalise", "false", "--prompt", "query=ba "]) == 0
    assert "m: vectors: pooling cls, not scaled to length 1; prompts: query 'ba '" in capsys.readouterr().out


def test_the_length_is_the_models_own_unless_it_is_given(embedders: Folders, test_sets: Sets) -> None:
    sets = {"scored": test_sets["scored"]}
    found = evaluate({"m": embedders["student"]}, sets, "embed", resamples=5, progress=False)
    assert found.plan.models[0].max_length == 48
    found = evaluate({"m": embedders["student"]}, sets, "embed", max_length=9, resamples=5, progress=False)
    assert found.plan.models[0].max_length == 9


def test_vectors_that_are_not_finite_are_refused(embedders: Folders, test_sets: Sets, tmp_path: Path) -> None:
    shutil.copytree(embedders["narrow"], tmp_path / "broken")
    loaded = load_task_model(str(tmp_path / "broken"), task=find_task("embed"))
    next(iter(loaded.model.parameters())).data.fill_(float("inf"))
    found = evaluate({"m": embedders["narrow"]}, {"s": test_sets["scored"]}, "embed", resamples=5, progress=False)
    with pytest.raises(InputError, match=r"--model .*: its vectors hold NaN or infinity"):
        Encoder(loaded, found.plan.models[0], 8)(["ba"], "")


def test_prompts_have_names_or_are_the_default() -> None:
    def chosen(**prompts: str) -> tuple[str, str]:
        return prompts_of(SentenceSettings(prompts=prompts, default_prompt=next(iter(prompts), None)))

    assert chosen() == ("", "")
    assert chosen(default="x") == ("x", "x")
    assert chosen(query="q", passage="p", corpus="c") == ("q", "p")
    assert chosen(query="q") == ("q", "")
    assert chosen(document="d") == ("", "d")
