"""Test every task on each model family, from a masked language model and from an encoder without a head."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from student_models import KINDS, VOCABULARY, tiny_batches, tiny_teacher
from tokenizer_kinds.other_tokenizers import wordpiece_tokenizer
from torch import Tensor
from transformers import AutoModel, AutoModelForMaskedLM

from bistil_ds.errors import InputError
from bistil_ds.models.inputs import load_config, load_tokenizer
from bistil_ds.models.tokenizer_folder import save_tokenizer
from bistil_ds.tasks import Task, find_task
from bistil_ds.tasks.models import load_task_model

LABELS = {"nli": ("x", "y", "z"), "ner": ("O", "B-X"), "qa": ("start", "end"), "dp": ("root", "obj"), "mlm": ()}
WITHOUT_QA = ("eurobert", "gte")
FOLDERS = {"with a masked-LM head": AutoModelForMaskedLM, "headless": AutoModel}


@pytest.fixture(scope="module", params=[(kind, name) for kind in KINDS for name in FOLDERS], ids="-".join)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a model of a family; one without a head has no pooler either."""
    kind, name = request.param
    model = tiny_teacher(kind, layers=2, auto=FOLDERS[name])
    if getattr(model, "pooler", None) is not None:
        model.pooler = None
    place = tmp_path_factory.mktemp(kind) / name.replace(" ", "-")
    model.save_pretrained(place)
    return place


@pytest.fixture(autouse=True)
def _quiet() -> object:
    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore")
        yield


def batch_of(task: str, seed: int = 0) -> dict[str, Tensor]:
    """Return a padded batch with the task's labels."""
    batch = next(tiny_batches(seed, 1))
    ids, mask = batch["input_ids"], batch["attention_mask"].bool()
    labels = {
        "nli": {"labels": torch.tensor([0, 1, 2, 0])},
        "ner": {"labels": (ids % 2).masked_fill(~mask, -100)},
        "qa": {"start_positions": torch.tensor([0, 1, 2, 1]), "end_positions": torch.tensor([1, 2, 3, 3])},
        "dp": {"word_positions": torch.tensor([[1, 2, -1]] * 4), "heads": torch.tensor([[0, 1, -100]] * 4)},
        "mlm": {"labels": ids.masked_fill(~mask | (ids % 3 > 0), -100)},
    }[task]
    return {**batch, **labels}


def can_do(task: str, folder: Path) -> bool:
    kind = load_config("", folder).model_type
    return not (task == "qa" and kind in WITHOUT_QA) and not (task == "mlm" and folder.name == "headless")


@pytest.mark.parametrize("name", LABELS)
def test_a_task_learns_is_saved_and_is_blind_to_padding(name: str, folder: Path, tmp_path: Path) -> None:
    task = find_task(name)
    config = load_config("", folder)
    if not can_do(name, folder):
        with pytest.raises(InputError):
            task.check_model(config)
        return
    task.check_model(config)
    model, batch = task.load_model(folder, LABELS[name]), batch_of(name)
    model(**batch).loss.backward()
    base = {id(parameter) for parameter in model.base_model.parameters()}
    head = [parameter for parameter in model.parameters() if id(parameter) not in base]
    assert all(parameter.grad.abs().sum() > 0 for parameter in head if name != "dp" and parameter.dim() > 1)
    assert model.get_input_embeddings().weight.grad.abs().sum() > 0
    model.save_pretrained(tmp_path)
    again = task.load_model(tmp_path, LABELS[name])
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in model.state_dict().items())
    assert_blind_to_padding(task, model.eval(), batch)


@torch.no_grad()
def assert_blind_to_padding(task: Task, model: torch.nn.Module, batch: dict[str, Tensor]) -> None:
    """Check that a row by itself, without its padding, gets the same answer."""
    together = task.predict(model(**batch), batch)
    for row, length in enumerate(batch["attention_mask"].sum(1).tolist()):
        one = {key: value[row : row + 1] for key, value in batch.items()}
        cut = {"input_ids", "attention_mask"} | ({"labels"} if one.get("labels", torch.empty(0)).dim() == 2 else set())
        one = {key: value[:, :length] if key in cut else value for key, value in one.items()}
        (alone,) = task.predict(model(**one), one)
        if task.name == "qa":
            torch.testing.assert_close(torch.tensor(alone), torch.tensor(together[row]), rtol=1e-4, atol=1e-4)
        else:
            assert alone == together[row]


@pytest.mark.parametrize("kind", WITHOUT_QA)
def test_question_answering_without_a_class_is_one_line(kind: str, tmp_path: Path) -> None:
    tiny_teacher(kind, layers=1).save_pretrained(tmp_path)
    for use in (
        lambda: load_task_model(str(tmp_path), (), find_task("qa"), LABELS["qa"]),
        lambda: find_task("qa").load_model(tmp_path, LABELS["qa"]),
    ):
        with pytest.raises(InputError, match=f"{tmp_path}: transformers has no QuestionAnswering class for {kind}"):
            use()


def test_masked_language_modelling_without_a_head_is_one_line(tmp_path: Path) -> None:
    tiny_teacher("bert", layers=1, auto=AutoModel).save_pretrained(tmp_path)
    with pytest.raises(InputError, match=f"^--model {tmp_path}: is a BertModel, which has no masked-LM head"):
        load_task_model(str(tmp_path), (), find_task("mlm"))


def test_an_encoder_alone_has_no_labels_of_its_own(tmp_path: Path) -> None:
    """Its `config.json` names LABEL_0 and LABEL_1, as all do; no head was trained for them."""
    tiny_teacher("bert", layers=1, auto=AutoModel).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="is a BertModel, which has no head for nli; add one"):
        load_task_model(str(tmp_path), (), find_task("nli"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_before_the_classifier_that_the_folder_lacks_is_the_identity(kind: str, tmp_path: Path) -> None:
    model = tiny_teacher(kind, layers=1, auto=AutoModel)
    if getattr(model, "pooler", None) is not None:
        model.pooler = None
    model.save_pretrained(tmp_path)
    loaded = find_task("nli").load_model(tmp_path, LABELS["nli"])
    prefix = f"{loaded.base_model_prefix}."
    of_folder = {f"{prefix}{name}" for name in model.state_dict()}
    for name, value in loaded.named_parameters():
        if name not in of_folder and not name.startswith("classifier."):
            start = torch.eye(32) if value.dim() == 2 else torch.full((32,), float(name.endswith("norm.weight")))
            assert torch.equal(value, start), name


@pytest.mark.parametrize("sparse", [True, False])
def test_the_loss_of_masked_tokens_is_that_of_all_logits(sparse: bool, tmp_path: Path) -> None:
    """ModernBERT can leave out the tokens without a label itself (`sparse_prediction`)."""
    plain = tiny_teacher("modernbert", layers=2)
    plain.config.sparse_prediction = sparse
    plain.save_pretrained(tmp_path)
    batch = batch_of("mlm")
    ours = find_task("mlm").load_model(tmp_path, ())(**batch)
    theirs = AutoModelForMaskedLM.from_pretrained(tmp_path)(**batch)
    torch.testing.assert_close(ours.loss, theirs.loss)
    assert ours.logits.shape == (int((batch["labels"] != -100).sum()), VOCABULARY)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("names", [["input_ids", "attention_mask"], ["input_ids", "attention_mask", "token_type_ids"]])
def test_only_models_with_several_types_of_token_are_given_types(kind: str, names: list[str], tmp_path: Path) -> None:
    model, tokenizer = tiny_teacher(kind, layers=1), wordpiece_tokenizer()
    tokenizer.model_input_names = names
    model.save_pretrained(tmp_path)
    save_tokenizer(tokenizer, tmp_path)
    told_apart = "token_type_ids" in load_tokenizer("", tmp_path).model_input_names
    assert told_apart == (getattr(model.config, "type_vocab_size", 0) > 1)
    if told_apart:  # else the model would fail on the second type
        model(**next(tiny_batches(0, 1)), token_type_ids=torch.ones(4, 12, dtype=torch.int64))
