"""Test what is read from model cards that others wrote, well or badly."""

from __future__ import annotations

from pathlib import Path

import pytest

from bistil_ds.models.model_card import CardMetadata, read_data_card, read_model_card


def card(folder: Path, header: str) -> CardMetadata:
    (folder / "README.md").write_text(f"---\n{header}\n---\n# A model\n", encoding="utf-8")
    return read_model_card(str(folder))


def test_licence_and_languages_are_read_as_a_multilingual_models_card_has_them(tmp_path: Path) -> None:
    found = card(tmp_path, "license: mit\nlanguage:\n- multilingual\n- af\n- no\n- zh-Hant\n- pt_BR\ntags: [exbert]")
    assert found == CardMetadata("mit", ("af", "no", "zh-hant", "pt-br"))


def test_one_language_may_stand_without_a_list(tmp_path: Path) -> None:
    assert card(tmp_path, "language: ha") == CardMetadata(None, ("ha",))


@pytest.mark.parametrize(
    ("header", "licence"),
    [
        ("license: other\nlicense_name: some-community-licence", "some-community-licence"),
        ("license: other", "other"),
        ("license: [mit, cc-by-nc-4.0]", "mit AND cc-by-nc-4.0"),
        ("license: unknown", None),
        ("license: ''", None),
        ("tags: [x]", None),
    ],
)
def test_licences_in_all_their_forms(tmp_path: Path, header: str, licence: str | None) -> None:
    assert card(tmp_path, header).licence == licence


def test_a_licence_cannot_break_out_of_a_table(tmp_path: Path) -> None:
    assert card(tmp_path, 'license: "mit` |\\n# <b>Buy"').licence == "mit b Buy"


@pytest.mark.parametrize(
    "text", ["", "# no header", "---\n- a list\n---\n", "---\na: [\n---\n", "---\nlanguage: {a: b}\n---\n"]
)
def test_a_card_without_readable_metadata_says_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "README.md").write_text(text)
    assert read_model_card(str(tmp_path)) == CardMetadata()


def test_a_folder_without_a_card_and_a_hub_out_of_reach_say_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert read_model_card(str(tmp_path)) == CardMetadata()
    assert read_model_card("org/name") == CardMetadata()
    assert read_data_card("org/name:config:train") == CardMetadata()


def test_the_card_of_a_hub_data_set_is_asked_for_under_its_bare_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def download(name: str, file: str, *, revision: str, repo_type: str) -> str:
        asked.append((name, repo_type))
        (tmp_path / file).write_text("---\nlicense: cc-by-sa-4.0\n---\n")
        return str(tmp_path / file)

    monkeypatch.setattr("bistil_ds.models.hub_folder.hf_hub_download", download)
    assert read_data_card("org/name:config:train").licence == "cc-by-sa-4.0"
    assert read_data_card("hf:name:config").licence == "cc-by-sa-4.0"
    assert asked == [("org/name", "dataset"), ("name", "dataset")]


def test_a_card_that_grows_when_it_is_read_says_nothing(tmp_path: Path) -> None:
    bomb = "a0: &a0 [x]\n" + "".join(f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 9)}]\n" for n in range(9))
    assert card(tmp_path, f"{bomb}license: *a9") == CardMetadata()
    assert card(tmp_path, f"license: {'[' * 100_000}") == CardMetadata()
    assert card(tmp_path, "license: !!python/object/apply:os.system ['true']") == CardMetadata()
    assert card(tmp_path, "license: [[mit]]\nlanguage: [[en], tr]") == CardMetadata(None, ("tr",))
    (tmp_path / "README.md").unlink()
    (tmp_path / "README.md").symlink_to("/dev/zero")
    assert read_model_card(str(tmp_path)) == CardMetadata()


def test_the_card_beside_a_plain_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("---\nlicense: cc-by-sa-4.0\n---\n")
    (tmp_path / "words.csv").write_text("ev,evler\n")
    assert read_data_card(f"plain:{tmp_path / 'words.csv'}").licence == "cc-by-sa-4.0"
