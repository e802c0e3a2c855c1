"""Test that the biaffine parser is an ordinary transformers model on any encoder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny import xlmr
from transformers import AutoConfig, AutoModel, BertConfig, BertForMaskedLM, DistilBertConfig, DistilBertModel, T5Config
from transformers.modeling_outputs import BaseModelOutput

from bistil_ds.errors import InputError
from bistil_ds.models.attention import AttentionRecorder
from bistil_ds.models.with_head import family_class
from bistil_ds.tasks.parsing.parser import NO_HEAD, BiaffineParser, ParserOutput

RELATIONS = {0: "nsubj", 1: "obj", 2: "root"}
LABELS = {"id2label": RELATIONS, "label2id": {name: i for i, name in RELATIONS.items()}}


def batch() -> dict[str, torch.Tensor]:
    """Return a sentence of three words, the second of which has two pieces, and a sentence of one word."""
    return {
        "input_ids": torch.tensor([[0, 5, 6, 7, 8, 2], [0, 9, 2, 1, 1, 1]]),
        "attention_mask": torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]]),
        "word_positions": torch.tensor([[1, 2, 4], [1, -1, -1]]),
        "heads": torch.tensor([[2, 0, 2], [0, -100, -100]]),
        "relations": torch.tensor([[0, 2, 1], [2, -100, -100]]),
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    xlmr(50, layers=2).save_pretrained(tmp_path / "mlm")
    return tmp_path / "mlm"


def load(folder: Path, **settings: object) -> BiaffineParser:
    return BiaffineParser.from_pretrained(folder, **LABELS, **settings).eval()


def test_a_masked_language_model_becomes_a_parser_under_the_same_parameter_names(folder: Path) -> None:
    base, parser = xlmr(50, layers=2), load(folder)
    ours = dict(parser.named_parameters())
    encoder = {n: p for n, p in base.named_parameters(remove_duplicate=False) if n.startswith("roberta.")}
    assert all(torch.equal(ours.pop(name), parameter) for name, parameter in encoder.items())
    assert {name.partition(".")[0] for name in ours} == {"arc_scorer", "relation_scorer"}
    assert parser.base_model is parser.roberta


@pytest.mark.parametrize(
    ("model", "prefix"),
    [
        (
            BertForMaskedLM(
                BertConfig(
                    vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
                )
            ),
            "bert",
        ),
        (DistilBertModel(DistilBertConfig(vocab_size=50, n_layers=2, n_heads=2, dim=16, hidden_dim=32)), "distilbert"),
    ],
)
def test_other_families_keep_their_own_prefix(model: torch.nn.Module, prefix: str, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)  # type: ignore[operator]
    parser = load(tmp_path)
    assert parser.base_model_prefix == prefix
    assert torch.isfinite(parser(**batch()).loss)
    for name, parameter in model.named_parameters():
        if name.startswith(f"{prefix}.") or prefix == "distilbert":
            assert torch.equal(parser.get_parameter(f"{prefix}." + name.removeprefix(f"{prefix}.")), parameter)


def test_a_saved_parser_loads_whole_and_its_encoder_by_the_auto_class(folder: Path, tmp_path: Path) -> None:
    config = AutoConfig.from_pretrained(folder, **LABELS)
    config.arc_width = 24
    parser = BiaffineParser.from_pretrained(folder, config=config).eval()
    assert parser.arc_scorer.bilinear.weight.shape == (24, 24)
    parser.save_pretrained(tmp_path / "parser")
    again = BiaffineParser.from_pretrained(tmp_path / "parser").eval()
    assert again.config.architectures == ["XLMRobertaForDependencyParsing"]
    assert again.config.id2label == RELATIONS
    ours, theirs = parser(**batch()), again(**batch())
    assert torch.equal(ours.arc_logits, theirs.arc_logits)
    assert torch.equal(ours.relation_logits, theirs.relation_logits)
    encoder = AutoModel.from_pretrained(tmp_path / "parser").eval()
    assert type(encoder).__name__ == "XLMRobertaModel"
    assert torch.equal(encoder.embeddings.word_embeddings.weight, parser.get_input_embeddings().weight)


def test_a_model_that_is_no_encoder_is_refused() -> None:
    with pytest.raises(InputError, match="T5Config model: give an encoder"):
        family_class(BiaffineParser, T5Config)


def test_scores_are_the_biaffine_formula(folder: Path) -> None:
    parser = load(folder)
    output = parser(**batch(), output_hidden_states=True)
    gelu = torch.nn.functional.gelu
    states = output.hidden_states[-1][0]
    root, words = states[:1], states[[1, 2, 4]]
    heads = torch.cat([root, words])

    arc = parser.arc_scorer
    x, h = gelu(arc.dependent(words)), gelu(arc.head(heads))
    expected = torch.einsum("wi,ji,hj->wh", x, arc.bilinear.weight, h) + arc.bilinear.bias @ h.T
    real = output.arc_logits[0] != NO_HEAD
    assert real.tolist() == [[True, False, True, True], [True, True, False, True], [True, True, True, False]]
    torch.testing.assert_close(output.arc_logits[0][real], (expected / 16)[real])

    relation = parser.relation_scorer
    x, h = gelu(relation.dependent(words)), gelu(relation.head(heads))
    matrix, offset = relation.bilinear.weight.view(3, 128, 128), relation.bilinear.bias.view(3, 128)
    every = torch.einsum("wi,rji,hj->whr", x, matrix, h) + torch.einsum("rj,hj->hr", offset, h)
    every = every + relation.linear(x)[:, None]
    gold = batch()["heads"][0]
    torch.testing.assert_close(output.relation_logits[0], every[torch.arange(3), gold])
    not_root = every[:, 1:, :2].argmax(-1)
    assert torch.equal(output.relations[0, :, 1:], not_root)
    assert (output.relations[0, :, 0] == 2).all()  # root arcs, and no others, get the relation root

    logits = [output.arc_logits[0].log_softmax(-1)[torch.arange(3), gold], torch.zeros(1)]
    assert logits[1].item() == pytest.approx(output.arc_logits[1, 0].log_softmax(-1)[0].item())
    relations = output.relation_logits.log_softmax(-1)
    named = [relations[0, i, r] for i, r in enumerate([0, 2, 1])] + [relations[1, 0, 2]]
    torch.testing.assert_close(output.loss, -(torch.cat(logits).sum() + torch.stack(named).sum()) / 4)


def test_padding_changes_nothing(folder: Path) -> None:
    parser = load(folder)
    both = batch()
    alone = {name: value[1:, : (3 if name in ("input_ids", "attention_mask") else 1)] for name, value in both.items()}
    together, single = parser(**both), parser(**alone)
    assert (together.arc_logits[1, 0, 2:] == NO_HEAD).all()
    torch.testing.assert_close(together.arc_logits[1, :1, :2], single.arc_logits[0])
    torch.testing.assert_close(together.relation_logits[1, 0], single.relation_logits[0, 0])


def test_without_gold_trees_there_is_no_loss_and_in_training_no_decision(folder: Path) -> None:
    parser = load(folder)
    inputs = {name: value for name, value in batch().items() if name not in ("heads", "relations")}
    output = parser(**inputs)
    assert output.loss is None
    assert output.relation_logits is None
    assert output.relations.shape == (2, 3, 4)
    assert parser.train()(**batch()).relations is None


def test_a_batch_without_annotated_words_has_loss_zero(folder: Path) -> None:
    inputs = batch() | {name: torch.full((2, 3), -100) for name in ("heads", "relations")}
    assert load(folder)(**inputs).loss.item() == 0.0


def test_states_and_attention_can_be_watched_for_distillation(folder: Path) -> None:
    parser = load(folder)
    with (recorder := AttentionRecorder(parser, [0, 1])):
        output = parser(**batch(), output_hidden_states=True)
    assert isinstance(output, ParserOutput)
    assert "loss" in output
    assert [tuple(state.shape) for state in output.hidden_states] == [(2, 6, 32)] * 3
    assert len(recorder.queries_keys) == 2
    encoded: BaseModelOutput = parser.roberta(batch()["input_ids"], batch()["attention_mask"])
    assert torch.equal(encoded.last_hidden_state, output.hidden_states[-1])


def test_it_trains_under_gradient_checkpointing_and_bf16_autocast(folder: Path) -> None:
    parser = load(folder).train()
    parser(**batch()).loss.backward()
    plain = {name: parameter.grad.clone() for name, parameter in parser.named_parameters()}
    parser.zero_grad()
    parser.gradient_checkpointing_enable({"use_reentrant": False})
    parser(**batch()).loss.backward()
    for name, parameter in parser.named_parameters():
        torch.testing.assert_close(parameter.grad, plain[name], msg=name)
    parser.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        output = parser(**batch())
    assert output.loss.dtype == output.arc_logits.dtype == torch.float32
    output.loss.backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in parser.parameters())


def test_a_new_head_is_the_same_for_the_same_seed(folder: Path) -> None:
    heads = []
    for _ in range(2):
        torch.manual_seed(7)
        heads.append(load(folder).relation_scorer.bilinear.weight)
    assert torch.equal(*heads)
    assert heads[0].std() > 0.01
