"""Test that a model's hub id may name a revision, on a hub of this machine, and that folders stay folders."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)
from stand_ins.hub import Hub, stand_in_hub
from tiny import write_sentence_folder, write_xlmr
from transformers import AutoModel

from bistil_ds.embedding.sentence_files import dense_weights, settings_of_folder
from bistil_ds.errors import InputError, Notice
from bistil_ds.models.hub_folder import HubSilentError, find_file, local_folder, split_revision
from bistil_ds.models.inputs import load_config, load_tokenizer
from bistil_ds.models.licences import is_hub_id, public_name
from bistil_ds.models.loading import load_teacher
from bistil_ds.models.model_card import read_model_card
from bistil_ds.models.sentence_folder import transformer_folder
from bistil_ds.models.weight_files import WEIGHT_FILES, hash_weights


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """Yield a hub with a model of one layer at `main`, and of two layers, with another licence, at `refs/pr/1`."""
    folder = tmp_path_factory.mktemp("hub")
    with stand_in_hub(folder / "cache") as hub:
        for layers, revision in ((1, "main"), (2, "refs/pr/1")):
            write_xlmr(folder / revision, layers=layers)
            (folder / revision / "README.md").write_text(f"---\nlicense: licence-{layers}\n---\n")
            hub.add("org/mmt", folder / revision, revision)
        write_sentence_folder(folder / "sentences", inner="0_Transformer")
        hub.add("org/sentences", folder / "sentences", "v1")
        write_sentence_folder(folder / "flat")
        hub.add("org/flat", folder / "flat")
        for name in ("org/plain", "org/unasked"):
            hub.add(name, folder / "main")
        yield hub


def test_the_revision_stands_behind_an_at_sign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert split_revision("org/name") == ("org/name", "main")
    assert split_revision("org/name@refs/pr/1") == ("org/name", "refs/pr/1")
    assert split_revision("bert-base-cased@v2") == ("bert-base-cased", "v2")
    for no_hub_id in ("/runs/a@b", "./a@b", "~/a@b", "a/b/c@d", "@v1", "org/name@"):
        assert split_revision(no_hub_id) == (no_hub_id, "main")
    monkeypatch.chdir(tmp_path)
    Path("runs/me@home").mkdir(parents=True)
    assert split_revision("runs/me@home") == ("runs/me@home", "main")
    assert not is_hub_id("runs/me@home")
    assert public_name("org/name@refs/pr/1") == "org/name@refs/pr/1"


def test_every_file_of_a_model_comes_from_its_revision(hub: Hub) -> None:
    for name, layers in (("org/mmt", 1), ("org/mmt@main", 1), ("org/mmt@refs/pr/1", 2)):
        model, tokenizer = load_teacher(name, "--teacher_model")
        assert model.config.num_hidden_layers == load_config("", name).num_hidden_layers == layers
        assert len(tokenizer) == model.config.vocab_size
        assert hash_weights(local_folder(name, "model", WEIGHT_FILES)) == hash_weights(model)
        assert read_model_card(name).licence == f"licence-{layers}"
    commit = hub.sha("org/mmt", "refs/pr/1")
    assert load_config("", f"org/mmt@{commit}").num_hidden_layers == 2
    found = Path(transformer_folder("org/sentences@v1"))
    assert found.name == "0_Transformer"
    assert (found / "model.safetensors").is_file()


def test_a_folder_with_an_at_sign_loads(tmp_path: Path) -> None:
    model = write_xlmr(tmp_path / "me@home")
    found, _ = load_teacher(tmp_path / "me@home")
    assert all(torch.equal(value, found.state_dict()[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("name", ["org/mmt@v9", "org/nothing@v1"])
def test_an_unknown_revision_is_refused_in_one_line(hub: Hub, name: str) -> None:
    for load in (load_config, load_tokenizer):
        with pytest.raises(InputError, match=f"--model {name}: cannot be loaded: ") as raised:
            load("--model", name)
        assert "\n" not in str(raised.value)
    with pytest.raises(InputError, match=f"no model at {name}: neither a folder here nor a hub id") as raised:
        local_folder(name, "model", WEIGHT_FILES)
    assert "\n" not in str(raised.value)


def test_without_a_network_one_line_says_so(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=r"^--model org/other@v1: cannot be loaded: [^\n]*; give a model folder"):
        load_config("--model", "org/other@v1")
    load_teacher("org/mmt@main")  # fetched by the test above, or now


def test_offline_a_model_whose_kind_is_not_known_is_told(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Transformers alone fetches no `modules.json`, so that the cache does not say whether there is one."""
    for name in ("org/flat", "org/unasked"):
        AutoModel.from_pretrained(name)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for name in ("org/flat", "org/unasked"):
        with pytest.warns(Notice, match=f"^{name}: its modules.json could not be .*LocalEntryNotFoundError"):
            assert transformer_folder(name, "--model") == name
        for use in (settings_of_folder, dense_weights):
            with pytest.raises(InputError, match=f"^--model {name}: its modules.json could not .*; fetch all of it"):
                use(name, "--model")


def test_offline_a_plain_model_that_was_looked_up_is_plain(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    load_teacher("org/plain")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with warnings.catch_warnings():
        warnings.simplefilter("error", Notice)
        assert transformer_folder("org/plain") == "org/plain"
        assert transformer_folder("org/never-fetched") == "org/never-fetched"  # loading it is what fails
    assert settings_of_folder("org/plain") is None


class _Response:
    """What the hub's errors ask of a response."""

    headers: dict[str, str] = {}  # noqa: RUF012
    request = None
    status_code = 503


@pytest.mark.parametrize(
    ("kind", "known"),
    [
        (EntryNotFoundError, True),
        (RepositoryNotFoundError, True),
        (LocalEntryNotFoundError, False),
        (GatedRepoError, False),
        (HfHubHTTPError, False),
        (TimeoutError, False),
    ],
)
def test_only_an_answer_of_the_hub_says_that_a_file_is_absent(
    kind: type[Exception], known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: str) -> Path:
        raise kind("no", response=_Response()) if issubclass(kind, HfHubHTTPError) else kind("no")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("bistil_ds.models.hub_folder.fetch_file", fail)
    if known:
        assert find_file("org/no-such-model", "modules.json") is None
    else:
        with pytest.raises(HubSilentError, match=kind.__name__):
            find_file("org/no-such-model", "modules.json")
