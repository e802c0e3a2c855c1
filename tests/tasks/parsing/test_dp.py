"""Test dependency parsing as a task: rows, batches, decoding and scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import unigram_tokenizer, xlmr
from transformers import PreTrainedTokenizerFast

from bistil_ds.errors import InputError, Notice
from bistil_ds.models.head import IGNORED
from bistil_ds.tasks import ReadOptions, find_task
from bistil_ds.tasks.data import make_rows
from bistil_ds.tasks.examples import Place, Tree
from bistil_ds.tasks.parsing.parser import NO_HEAD, ParserOutput

DP = find_task("dp")


def tree(words: str, heads: tuple[int, ...], relations: str) -> Tree:
    forms = tuple(words.split())
    return Tree(forms, ("X",) * len(forms), heads, tuple(relations.split()), Place("train.conllu", 4))


TREES = [
    tree("bake lomi su .", (2, 0, 2, 2), "nsubj root obj punct"),
    tree("renvor ta", (0, 1), "root obj"),
]
LABELS = ("nsubj", "obj", "punct", "root")


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return unigram_tokenizer()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> Path:
    folder = tmp_path_factory.mktemp("mlm")
    xlmr(len(tokenizer), layers=2).save_pretrained(folder)
    return folder


def test_it_is_found_by_name_with_the_published_settings() -> None:
    assert (DP.metric, DP.full_epochs, DP.sparse_epochs, DP.learning_rate) == ("las", 10, 10, 5e-5)


def test_it_reads_conllu_without_subtypes(tmp_path: Path) -> None:
    lines = ["1\tba\t_\tNOUN\t_\t_\t2\tnsubj:pass\t_\t_", "2\tke\t_\tVERB\t_\t_\t0\troot\t_\t_", "", ""]
    (tmp_path / "a.conllu").write_text("\n".join(lines))
    (read,) = DP.read(str(tmp_path / "a.conllu"), ReadOptions())
    assert (read.heads, read.relations) == ((2, 0), ("nsubj", "root"))


def test_labels_are_the_relations_of_training() -> None:
    assert DP.labels(TREES) == LABELS


def test_a_relation_that_is_not_universal_is_named_with_its_place_and_a_way_out() -> None:
    with pytest.raises(InputError, match=r"--test_file: train.conllu, line 4: relation 'sujet'.*--label_map sujet="):
        DP.check_labels([tree("ba ke", (0, 1), "root sujet")], LABELS, "--test_file")


def test_a_universal_relation_that_training_lacked_is_counted_and_wrong(tokenizer: PreTrainedTokenizerFast) -> None:
    strange = tree("ba ke lo", (0, 1, 1), "root clf obj")
    with pytest.warns(Notice, match=r"^--test_file: training had no relation clf \(1 words\): .* count as wrong"):
        DP.check_labels([strange], LABELS, "--test_file")
    (row,) = DP.features([strange], tokenizer, LABELS, 64, training=False)
    assert (row["heads"], row["relations"]) == ([0, 1, 1], [LABELS.index("root"), IGNORED, LABELS.index("obj")])
    assert DP.counts(strange, ((0, 1, 1), ("root", "obj", "obj")), None).tolist() == [3, 3, 2]


def test_rows_point_at_first_subwords_and_number_the_relations(tokenizer: PreTrainedTokenizerFast) -> None:
    row = DP.features(TREES, tokenizer, LABELS, 64, training=True)[0]
    pieces = tokenizer.convert_ids_to_tokens([row["input_ids"][p] for p in row["word_positions"]])
    assert all(piece.startswith("▁") for piece in pieces)
    assert (row["heads"], row["relations"], row["example"]) == ([2, 0, 2, 2], [0, 3, 1, 2], 0)


def test_words_beyond_the_end_are_not_learned_from_and_count_as_wrong(tokenizer: PreTrainedTokenizerFast) -> None:
    long = tree("ba " * 20, (20, *range(1, 19), 0), "obj " * 19 + "root")
    (row,) = DP.features([long], tokenizer, LABELS, 10, training=True)
    kept = len(row["word_positions"])
    assert 0 < kept < 20
    assert len(row["input_ids"]) == 10
    assert (row["heads"][0], row["relations"][0]) == (-100, -100)  # the head lies beyond the end of the row
    assert row["heads"][1:] == list(long.heads[1:kept])
    answer = DP.decide(long, [row], [([0, *range(1, kept)], [3, *[1] * (kept - 1)])], LABELS)
    assert list(map(len, answer)) == [20, 20]
    assert DP.counts(long, answer, "en").tolist() == [20, kept - 1, kept - 1]


def test_words_beyond_the_end_are_counted(tokenizer: PreTrainedTokenizerFast, recwarn: pytest.WarningsRecorder) -> None:
    long = tree("ba " * 20, (0, *range(1, 20)), "root" + " obj" * 19)
    (row,) = DP.features([long], tokenizer, LABELS, 10, training=False)
    beyond = 20 - len(row["word_positions"])
    make_rows(DP, TREES, tokenizer, LABELS, 64, source="--test_file a.conllu")
    assert not recwarn
    said = f"--test_file a.conllu: {2 * beyond} words, in 2 of 3 sentences, are beyond 10 tokens"
    with pytest.warns(Notice, match=f"^{said}, --max_length: they count as wrong, and nothing is learned"):
        make_rows(DP, [long, tree("ba", (0,), "root"), long], tokenizer, LABELS, 10, source="--test_file a.conllu")


def test_uas_and_las_over_all_words_worked_by_hand() -> None:
    answer = (2, 0, 1, 2), ("nsubj", "root", "obj", "nsubj")  # the third head and the fourth relation are wrong
    totals = DP.counts(TREES[0], answer, "en") + DP.counts(TREES[1], ((0, 1), ("root", "obj")), "en")
    assert totals.tolist() == [6, 5, 4]
    assert DP.metrics(totals) == {"uas": 5 / 6, "las": 4 / 6}
    assert DP.metrics(np.zeros(3)) == {"uas": 0.0, "las": 0.0}


def test_predictions_are_trees_even_where_every_word_wants_to_be_root(tokenizer: PreTrainedTokenizerFast) -> None:
    batch = DP.collate(DP.features(TREES, tokenizer, LABELS, 64, training=False), pad_token_id=1)
    arcs = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(0))
    arcs[..., 0] += 9
    relations = torch.arange(5).expand(2, 4, 5)  # the arc to head h has "relation" h
    for heads, named in DP.predict(ParserOutput(arc_logits=arcs, relations=relations), batch):
        assert heads.count(0) == 1
        assert named == heads
    assert [len(p[0]) for p in DP.predict(ParserOutput(arc_logits=arcs, relations=relations), batch)] == [4, 2]


def test_distilled_logits_are_those_of_annotated_words(folder: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    model = DP.load_model(folder, LABELS).eval()
    rows = DP.features(TREES, tokenizer, LABELS, 64, training=True)
    rows[0]["heads"][2] = rows[0]["relations"][2] = -100
    batch = DP.collate(rows, pad_token_id=1)
    output = model(**batch)
    arcs, relations = DP.distilled_logits(output, batch)
    assert (arcs.shape, relations.shape) == ((5, 5), (5, 4))
    assert torch.equal(arcs[2], output.arc_logits[0, 3])
    assert (arcs[3:, 3:] == NO_HEAD).all()  # a sentence of two words offers no further heads


def test_a_finished_parser_keeps_its_head_for_its_own_labels_only(folder: Path, tmp_path: Path) -> None:
    model = DP.load_model(folder, LABELS)
    assert [model.config.id2label[i] for i in range(4)] == list(LABELS)
    model.save_pretrained(tmp_path)
    same, other = DP.load_model(tmp_path, LABELS), DP.load_model(tmp_path, LABELS[::-1])
    name = "relation_scorer.bilinear.weight"
    assert torch.equal(same.get_parameter(name), model.get_parameter(name))
    assert not torch.equal(other.get_parameter(name), model.get_parameter(name))
    assert torch.equal(other.get_input_embeddings().weight, model.get_input_embeddings().weight)


def test_dropout_is_off(folder: Path) -> None:
    model = DP.load_model(folder, LABELS)
    assert all(module.p == 0 for module in model.modules() if isinstance(module, torch.nn.Dropout))


def test_a_small_parser_learns_its_training_sentences(folder: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    torch.manual_seed(0)
    model = DP.load_model(folder, LABELS).train()
    rows = DP.features(TREES, tokenizer, LABELS, 64, training=True)
    batch = DP.collate(rows, pad_token_id=1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(40):
        optimizer.zero_grad()
        model(**batch).loss.backward()
        optimizer.step()
    with torch.no_grad():
        predictions = DP.predict(model.eval()(**batch), batch)
    answers = [DP.decide(t, [r], [p], LABELS) for t, r, p in zip(TREES, rows, predictions, strict=True)]
    assert answers == [(t.heads, t.relations) for t in TREES]


def test_text_key_joins_the_words() -> None:
    assert DP.text_key(TREES[1]) == "renvor ta"
