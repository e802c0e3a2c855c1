"""Test narrower students: their projections and their start from the projected teacher."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from student_models import KINDS, NARROWABLE, distances, tiny_batches, tiny_teacher
from torch import Tensor
from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer

from bistil_ds.errors import InputError
from bistil_ds.student import build_student
from bistil_ds.student.layers import assemble, shallow_config
from bistil_ds.student.width import reduce_width


def random_twin(student):
    """Return a freshly initialised model of the same shape."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AutoModelForMaskedLM.from_config(student.config).eval()


def build(teacher, factor=2, **arguments):
    return build_student(
        teacher, hidden_reduction_factor=factor, sample_batches=tiny_batches(seed=0), progress=False, **arguments
    )


@pytest.mark.parametrize("kind", NARROWABLE)
def test_widths_are_divided_and_the_number_of_heads_stays(kind):
    config = build(tiny_teacher(kind)).student.config
    assert (config.hidden_size, config.intermediate_size, config.num_attention_heads) == (16, 32, 4)
    assert (config.num_hidden_layers, config.hidden_dropout_prob, config.vocab_size) == (3, 0.0, 61)


@pytest.mark.parametrize("kind", NARROWABLE)
@pytest.mark.parametrize("depth_factor", [1, 2])
def test_a_projected_start_is_nearer_to_the_teacher_than_a_random_one_at_every_state_and_map(kind, depth_factor):
    teacher = tiny_teacher(kind)
    built = build(teacher, layer_reduction_factor=depth_factor)
    results = [
        distances(model, teacher, built.layer_map, built.projections, tiny_batches(seed=1, batches=8))
        for model in (built.student, random_twin(built.student))
    ]
    (hidden, maps), (random_hidden, random_maps) = results
    assert all(ours < 0.6 * theirs for ours, theirs in zip(hidden, random_hidden)), (hidden, random_hidden)
    assert all(ours < theirs for ours, theirs in zip(maps, random_maps)), (maps, random_maps)


def test_without_narrowing_the_fit_gives_the_teacher_back():
    """Fit at the whole width, with all layers and layer norms of weight 1: exact but for the ridge's prior."""
    teacher = tiny_teacher("bert", layers=2)
    for module in teacher.modules():
        if isinstance(module, torch.nn.LayerNorm):
            torch.nn.init.ones_(module.weight)
    config = shallow_config(teacher.config, [0, 1])
    state, projections = reduce_width(teacher, config, [0, 1], tiny_batches(seed=0, batches=200), progress=False)
    student = assemble(config, state, teacher)
    hidden, maps = distances(student, teacher, [0, 1], projections, tiny_batches(seed=1, batches=8))
    assert hidden[0] < 1e-6
    assert max(hidden) < 0.02
    assert max(maps) < 1e-3


def test_building_twice_gives_the_same_bits_and_moves_no_generator():
    before = torch.random.get_rng_state()
    states = [build(tiny_teacher("xlm-roberta")).student.state_dict() for _ in range(2)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_teacher_is_left_as_it_was_and_padding_does_not_count():
    teacher = tiny_teacher("bert").train()
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    garbage = [dict(batch) for batch in tiny_batches(seed=0)]
    for batch in garbage:
        batch["input_ids"] = torch.where(batch["attention_mask"].bool(), batch["input_ids"], 60)
    ours = build(teacher)
    theirs = build_student(teacher, hidden_reduction_factor=2, sample_batches=garbage, progress=False)
    assert teacher.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.state_dict().items())
    for name, tensor in ours.student.state_dict().items():
        torch.testing.assert_close(tensor, theirs.student.state_dict()[name], rtol=1e-3, atol=1e-3)


def test_a_bf16_teacher_gives_a_bf16_student_and_fp32_projections():
    built = build(tiny_teacher("bert").to(torch.bfloat16))
    assert {parameter.dtype for parameter in built.student.parameters()} == {torch.bfloat16}
    assert {projection.dtype for projection in built.projections} == {torch.float32}
    assert torch.isfinite(built.student(**next(tiny_batches(seed=1))).logits).all()


def test_untied_decoders_are_narrowed_too():
    student = build(tiny_teacher("bert", tie_word_embeddings=False)).student
    assert student.get_output_embeddings().weight.shape == (61, 16)
    assert not torch.equal(student.get_output_embeddings().weight, student.get_input_embeddings().weight)


def test_a_saved_narrow_student_loads_with_transformers_alone_and_gives_identical_outputs(tmp_path):
    student = build(tiny_teacher("xlm-roberta")).student
    student.save_pretrained(tmp_path)
    batch = next(tiny_batches(seed=2))
    assert torch.equal(AutoModelForMaskedLM.from_pretrained(tmp_path)(**batch).logits, student(**batch).logits)
    assert student.get_output_embeddings().weight is student.get_input_embeddings().weight


@pytest.mark.parametrize(
    ("kind", "arguments", "says"),
    [
        ("bert", {"hidden_reduction_factor": 3}, r"3 does not divide heads of width 8 .* use one of \[1, 2, 4, 8\]"),
        ("bert", {"hidden_reduction_factor": 0}, "0 does not divide"),
        ("bert", {"hidden_reduction_factor": 2}, "needs sample_batches"),
        ("bert", {"hidden_reduction_factor": 2, "sample_batches": []}, "no real token"),
        *(
            (kind, {"hidden_reduction_factor": 2, "sample_batches": []}, f"not available for {kind} models")
            for kind in KINDS
            if kind not in NARROWABLE
        ),
    ],
)
def test_widths_and_samples_that_cannot_be_used_are_refused_in_one_line(kind, arguments, says):
    with pytest.raises(InputError, match=says) as refusal:
        build_student(tiny_teacher(kind), progress=False, **arguments)
    assert "\n" not in str(refusal.value)


def real_batches(shared: Path, lines: range) -> Iterator[dict[str, Tensor]]:
    tokenizer = AutoTokenizer.from_pretrained(shared / "models" / "mini-mmt")
    for language in ("en", "tr"):
        with open(shared / "data" / "text" / f"{language}.txt", encoding="utf-8") as file:
            texts = [line.strip() for number, line in enumerate(file) if number in lines]
        for start in range(0, len(texts), 16):
            batch = tokenizer(
                texts[start : start + 16], truncation=True, max_length=64, padding=True, return_tensors="pt"
            )
            yield dict(batch)


@pytest.mark.parametrize(("depth_factor", "width_factor"), [(2, 2), (3, 2), (2, 4)])
def test_a_real_teacher_projected_is_far_nearer_on_other_text_than_a_random_start(shared, depth_factor, width_factor):
    teacher = AutoModelForMaskedLM.from_pretrained(shared / "models" / "mini-mmt")
    built = build_student(
        teacher,
        layer_reduction_factor=depth_factor,
        hidden_reduction_factor=width_factor,
        sample_batches=real_batches(shared, range(48)),
        progress=False,
    )
    (hidden, maps), (random_hidden, random_maps) = (
        distances(model, teacher, built.layer_map, built.projections, real_batches(shared, range(5000, 5016)))
        for model in (built.student, random_twin(built.student))
    )
    assert all(ours < 0.4 * theirs for ours, theirs in zip(hidden, random_hidden)), (hidden, random_hidden)
    assert all(ours < 0.8 * theirs for ours, theirs in zip(maps, random_maps)), (maps, random_maps)


def test_a_factor_that_does_not_divide_the_heads_of_a_real_teacher_is_refused(shared):
    teacher = AutoModelForMaskedLM.from_pretrained(shared / "models" / "mini-mmt")
    with pytest.raises(InputError, match="does not divide heads of width 64"):
        build_student(teacher, hidden_reduction_factor=3, sample_batches=[], progress=False)


def test_a_teacher_without_a_head_is_narrowed_with_its_pooler_and_saved_as_it_was(tmp_path):
    teacher = tiny_teacher("bert", auto=AutoModel)
    built = build(teacher)
    built.student.save_pretrained(tmp_path)
    batch = next(tiny_batches(seed=3))
    loaded, info = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert loaded(**batch).pooler_output.shape == (4, 16)
    with_head = build(tiny_teacher("bert")).student.base_model  # the same encoder, whose head is fitted last
    assert with_head(**batch).last_hidden_state.shape == loaded(**batch).last_hidden_state.shape
