"""Test the capture of queries and keys."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from bistil_kernels import attention_map_loss
from student_models import KINDS, tiny_teacher
from torch import Tensor, nn
from transformers import (
    AutoModelForMaskedLM,
    DebertaV2Config,
    DebertaV2ForMaskedLM,
    DistilBertConfig,
    DistilBertForMaskedLM,
    PreTrainedModel,
)

from bistil_ds.errors import InputError
from bistil_ds.models.attention import AttentionRecorder, is_attention_observable
from bistil_ds.models.families import FAMILIES

SHAPE = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 16,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "initializer_range": 0.3,
}


DISTILBERT = "distilbert"  # no family of ours, but its attention can be observed
OBSERVABLE = [*(kind for kind in KINDS if FAMILIES[kind].maps_observable), DISTILBERT]
# sliding layers between global ones; one head of keys for both heads of queries
CHANGES = {"modernbert": {"local_attention": 4}, "eurobert": {"num_key_value_heads": 1}}


def model_of(kind: str = "bert") -> PreTrainedModel:
    if kind == DISTILBERT:
        config = DistilBertConfig(
            vocab_size=40, dim=16, n_layers=3, n_heads=2, hidden_dim=32, max_position_embeddings=16
        )
        return DistilBertForMaskedLM(config)
    return tiny_teacher(kind, **{**SHAPE, **CHANGES.get(kind, {})})


MASK = torch.tensor([[1] * 7, [1] * 4 + [0] * 3])


def batch(mask: Tensor = MASK) -> dict[str, Tensor]:
    return {"input_ids": torch.randint(4, 40, (2, 7)), "attention_mask": mask}


@pytest.mark.parametrize("mask", [MASK, MASK.flip(1), torch.ones_like(MASK)], ids=["right", "left", "none"])
@pytest.mark.parametrize("kind", OBSERVABLE)
def test_the_output_stays_that_of_sdpa_with_padding(kind: str, mask: Tensor) -> None:
    model, inputs = model_of(kind).eval(), batch(mask)
    assert model.config._attn_implementation == "sdpa"
    before = model(**inputs).logits
    recorder = AttentionRecorder(model, [0, 2])
    outside = model(**inputs).logits
    with recorder:
        inside = model(**inputs).logits
    assert torch.equal(before, outside)
    assert torch.equal(before, inside)


@pytest.mark.parametrize("kind", OBSERVABLE)
def test_what_is_recorded_gives_the_models_own_attention_maps(kind: str) -> None:
    model, inputs = model_of(kind).eval(), batch()
    model.set_attn_implementation("eager")
    maps = model(**inputs, output_attentions=True).attentions
    recorder = AttentionRecorder(model, [2, 0])
    with recorder:
        model(**inputs)
    token = torch.arange(MASK.shape[1])
    for (q, k), window, expected in zip(recorder.queries_keys, recorder.windows, (maps[2], maps[0])):
        keys = k.repeat_interleave(q.shape[1] // k.shape[1], 1)
        far = (token[:, None] - token).abs() > (len(token) if window is None else window)
        scores = q @ keys.transpose(-1, -2) / q.shape[-1] ** 0.5
        found = scores.masked_fill(far | (MASK[:, None, None] == 0), -torch.inf).softmax(-1)
        torch.testing.assert_close(*(x.transpose(1, 2)[MASK.bool()] for x in (found, expected)))


def test_keys_are_recorded_as_few_as_they_are() -> None:
    recorder = AttentionRecorder(model := model_of("eurobert"), [1])
    with recorder:
        model(**batch())
    assert [x.shape for x in recorder.queries_keys[0]] == [(2, 2, 7, 8), (2, 1, 7, 8)]


@pytest.mark.parametrize(("kind", "expected"), [("modernbert", [2, None, 2]), ("eurobert", [None] * 3)])
def test_each_layer_has_the_window_of_its_own_kind(kind: str, expected: list[int | None]) -> None:
    assert AttentionRecorder(model_of(kind), [1, 0, 2]).windows == expected


@pytest.mark.parametrize("kind", KINDS)
def test_a_family_says_whether_its_attention_can_be_observed(kind: str) -> None:
    assert is_attention_observable(model_of(kind)) == FAMILIES[kind].maps_observable


def test_padding_changes_nothing_at_real_tokens() -> None:
    model = model_of("xlm-roberta").eval()
    recorder = AttentionRecorder(model, [2])
    inputs = batch()
    other = dict(inputs, input_ids=torch.where(MASK == 1, inputs["input_ids"], 5))
    with recorder:
        a = model(**inputs).logits
    with recorder:
        b = model(**other).logits
    torch.testing.assert_close(a[1, :4], b[1, :4])


def test_only_the_recorded_model_records_and_only_inside_the_with() -> None:
    first, second = model_of(), model_of()
    recorders = [AttentionRecorder(m, [1]) for m in (first, second)]
    with recorders[0]:
        second(**batch())
        wanted = first(**batch())
    (kept,) = recorders[0].queries_keys
    first(**batch())
    assert wanted is not None
    assert recorders[0].queries_keys[0][0] is kept[0]
    with pytest.raises(KeyError):
        _ = recorders[1].queries_keys


def test_each_with_starts_afresh_and_clear_lets_go() -> None:
    model = model_of()
    recorder = AttentionRecorder(model, [0])
    with recorder:
        model(input_ids=torch.ones(1, 3, dtype=torch.long))
    with recorder:
        model(input_ids=torch.ones(1, 5, dtype=torch.long))
    assert recorder.queries_keys[0][0].shape == (1, 2, 5, 8)
    recorder.clear()
    with pytest.raises(KeyError):
        _ = recorder.queries_keys


def loss_and_gradients(model: PreTrainedModel, runner: nn.Module, inputs: dict[str, Tensor]) -> list[Tensor]:
    """Return the attention loss against fixed targets and the gradients, from a forward pass through `runner`."""
    recorder = AttentionRecorder(model, [0, 1, 2])
    with recorder:
        runner(**inputs)
    targets = [(q.detach().flip(0), k.detach().flip(2)) for q, k in recorder.queries_keys]
    with recorder:
        runner(**inputs)
        captured = recorder.queries_keys
        loss = attention_map_loss(captured, targets, MASK.bool(), windows=recorder.windows).sum()
        loss.backward()
        assert all(a[0] is b[0] for a, b in zip(recorder.queries_keys, captured)), "backward recorded again"
    return [loss.detach(), *(p.grad for p in model.parameters() if p.grad is not None)]


@pytest.mark.parametrize("kind", OBSERVABLE)
def test_gradient_checkpointing_changes_neither_loss_nor_gradients(kind: str) -> None:
    model, inputs = model_of(kind).train(), batch()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    plain = loss_and_gradients(model, model, inputs)
    model.zero_grad()
    model.gradient_checkpointing_enable({"use_reentrant": False})
    checkpointed = loss_and_gradients(model, model, inputs)
    assert len(plain) == len(checkpointed) > 10
    for a, b in zip(plain, checkpointed):
        torch.testing.assert_close(a, b)


def test_a_wrapper_around_the_model_changes_nothing() -> None:
    class Wrapper(nn.Module):
        def __init__(self, module: nn.Module) -> None:
            super().__init__()
            self.module = module

        def forward(self, **inputs: Tensor) -> object:
            return self.module(**inputs)

    model, inputs = model_of(), batch()
    plain = loss_and_gradients(model, model, inputs)
    model.zero_grad()
    for a, b in zip(plain, loss_and_gradients(model, Wrapper(model), inputs)):
        assert torch.equal(a, b)


def test_a_bf16_model_records_bf16() -> None:
    model = model_of().to(torch.bfloat16)
    recorder = AttentionRecorder(model, [0])
    with recorder:
        model(**batch())
    assert {x.dtype for x in recorder.queries_keys[0]} == {torch.bfloat16}


def test_a_saved_folder_says_nothing_of_the_recording(tmp_path: Path) -> None:
    model = model_of()
    recorder = AttentionRecorder(model, [0])
    with recorder:
        model(**batch())
    model.save_pretrained(tmp_path)
    assert "recording" not in (tmp_path / "config.json").read_text()
    assert AutoModelForMaskedLM.from_pretrained(tmp_path).config._attn_implementation == "sdpa"


def test_an_architecture_that_hides_its_attention_is_refused_by_name() -> None:
    model = DebertaV2ForMaskedLM(DebertaV2Config(**SHAPE))
    with pytest.raises(InputError, match="deberta-v2") as caught:
        AttentionRecorder(model, [0])
    advised = str(caught.value).partition("one of the types ")[2].partition(", or turn")[0]
    assert advised.split(", ") == OBSERVABLE[:-1]


def test_a_layer_that_does_not_exist_is_refused() -> None:
    with pytest.raises(InputError, match=r"\[3\].*0 to 2"):
        AttentionRecorder(model_of(), [0, 3])


@pytest.mark.slow
def test_a_compiled_model_records_the_same() -> None:
    model, inputs = model_of(), batch()
    plain = loss_and_gradients(model, model, inputs)
    model.zero_grad()
    compiled = torch.compile(model)
    for a, b in zip(plain, loss_and_gradients(model, compiled, inputs)):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_the_real_model_records(shared: Path) -> None:
    model = AutoModelForMaskedLM.from_pretrained(shared / "models" / "mini-mmt").eval()
    layers = range(model.config.num_hidden_layers)
    recorder = AttentionRecorder(model, list(layers))
    with torch.no_grad(), recorder:
        model(input_ids=torch.randint(5, 1000, (2, 12)))
    assert len(recorder.queries_keys) == len(layers)
