"""Test whole trimmed folders: weights, tokenizer, what travels along, one language or each."""

from __future__ import annotations

import filecmp
import json
from pathlib import Path
from unittest import mock

import pytest
import tiny
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel, AutoTokenizer

from bistil_ds import trim_pretrained
from bistil_ds.errors import InputError, ProductError
from bistil_ds.models.loading import load_pretrained
from bistil_ds.trimming import trim, writing
from bistil_ds.vocabulary import load_kept_ids
from bistil_ds.vocabulary.embeddings import UNLIKELY

KINDS = ("Model", "ForMaskedLM", "ForTokenClassification", "ForSequenceClassification")
NAME = "roberta.embeddings.word_embeddings.weight"
VOCABULARY = ("word_embeddings.weight", "lm_head.bias")


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


@pytest.mark.parametrize("kind", KINDS)
def test_only_rows_of_tokens_go_whatever_the_head(kind, texts, place):
    tiny.write_xlmr(place / "base", kind, id2label={0: "O", 1: "B-X", 2: "I-X"})
    folder = trim_pretrained("base", texts, output_dir="out")
    kept, before, after = load_kept_ids(folder), weights(place / "base"), weights(folder)
    assert len(kept) < 170
    assert before.keys() == after.keys()
    for name, value in before.items():
        assert torch.equal(value[kept] if name.endswith(VOCABULARY) else value, after[name]), name
    model = getattr(transformers, f"XLMRoberta{kind}").from_pretrained(folder)  # as a user loads it
    assert model.config.vocab_size == len(kept) == len(AutoTokenizer.from_pretrained(folder))
    old, new = (json.loads((each / "config.json").read_text()) for each in (place / "base", folder))
    assert {name for name in old if old[name] != new[name]} == {"vocab_size"}


def test_the_proof_is_of_all_layers_and_of_texts_cut_alike(texts, place):
    tiny.write_xlmr(place / "base", layers=2)
    folder = trim_pretrained("base", texts, coverage=0.9, output_dir="out")
    record = json.loads((folder / "trimming.json").read_text())
    for language in texts:
        found, cut = record["agreement"][language], record["report"]["segmentations"][language]
        assert found["largest_difference"] == 0
        assert 0 < found["compared"] < found["texts"] == 27
        assert 0 < cut["unchanged"] < 1
        assert cut["fertility_after"] > cut["fertility_before"]


def test_precision_and_weights_that_the_folder_lacks_stay_as_they_are(texts, place):
    model = tiny.write_xlmr(place / "base", "Model")
    model.bfloat16().save_pretrained(place / "base")
    path = place / "base" / "model.safetensors"
    save_file({name: v for name, v in load_file(path).items() if "pooler" not in name}, path, {"format": "pt"})
    folder = trim_pretrained("base", texts, output_dir="out")
    after = weights(folder)
    assert after.keys() == weights(place / "base").keys()
    assert {value.dtype for value in after.values()} == {torch.bfloat16}
    assert json.loads((folder / "trimming.json").read_text())["agreement"]["aa"]["largest_difference"] == 0


@pytest.mark.parametrize("inner", ["", "0_Transformer"])
def test_the_modules_of_sentence_transformers_travel_unchanged(inner, texts, place):
    tiny.write_sentence_folder(place / "base", inner)
    folder = trim_pretrained("base", texts, output_dir="out")
    rest = ["modules.json", "config_sentence_transformers.json", f"{inner}/sentence_bert_config.json".lstrip("/")]
    rest += ["1_Pooling/config.json", "2_Dense/config.json", "2_Dense/model.safetensors"]
    assert filecmp.cmpfiles(place / "base", folder, rest, shallow=False) == (rest, [], [])
    model, tokenizer = (kind.from_pretrained(folder / inner) for kind in (AutoModel, AutoTokenizer))
    assert len(tokenizer) == model.config.vocab_size == len(load_kept_ids(folder)) < 170
    card = (folder / "README.md").read_text()
    assert "library_name: sentence-transformers" in card
    assert 'SentenceTransformer("out")' in card


def test_each_language_gets_its_own_model_and_the_base_is_read_once(texts, place):
    tiny.write_xlmr(place / "base")
    with mock.patch.object(trim.Base, "load", autospec=True, side_effect=trim.Base.load) as load:
        folder = trim_pretrained("base", texts, each=True, output_dir="each")
    assert load.call_count == 1
    assert sorted(path.name for path in folder.iterdir()) == ["aa", "bb", "run.json"]
    for language, file in texts.items():
        alone = trim_pretrained("base", {language: file}, output_dir=language)
        names = sorted(path.name for path in (folder / language).iterdir())
        assert names == sorted({path.name for path in alone.iterdir()} - {"run.json"})
        assert filecmp.cmpfiles(folder / language, alone, names, shallow=False)[0] == names
    assert not set(load_kept_ids(folder / "aa")) >= set(load_kept_ids(folder / "bb"))
    assert set(json.loads((folder / "run.json").read_text())["results"]["trimmed"]) == set(texts)


@pytest.mark.parametrize("sentence", [False, True])
def test_kept_ids_alone_give_the_same_model_later(sentence, texts, place):
    tiny.write_sentence_folder(place / "base", "0_Transformer") if sentence else tiny.write_xlmr(place / "base")
    flags = {"each": True, "coverage": 0.95, "round_to": 8}
    direct, ids = (
        trim_pretrained("base", texts, output_dir=name, ids_only=name == "ids", **flags) for name in ("direct", "ids")
    )
    stored = {path.name for path in (ids / "aa").rglob("*") if path.is_file()}
    assert stored == {"kept_ids.json", "trimming.json", "tokenizer.json", "tokenizer_config.json"}
    rebuilt = trim.rebuild_trimmed(ids / "aa", output_dir="rebuilt/aa")
    names = [str(path.relative_to(direct / "aa")) for path in (direct / "aa").rglob("*") if path.is_file()]
    assert filecmp.cmpfiles(direct / "aa", rebuilt, names, shallow=False)[0] == names
    (place / "base").rename("moved")
    assert trim.rebuild_trimmed(ids / "bb", model="moved", output_dir="rebuilt/bb").is_dir()
    with pytest.raises(InputError, match=r"--model .*base: there is no such folder"):
        trim.rebuild_trimmed(ids / "bb", output_dir="rebuilt/cc")
    tiny.write_xlmr(place / "other", "Model" if sentence else "ForMaskedLM", initializer_range=0.3)
    with pytest.raises(InputError, match=r"other weights than the model that .*bb was trimmed from"):
        trim.rebuild_trimmed(ids / "bb", model="other", output_dir="rebuilt/dd")
    assert sorted(path.name for path in (place / "rebuilt").iterdir()) == ["aa", "bb"]


def test_rows_are_padded_where_the_vocabulary_ends(texts, place):
    tiny.write_xlmr(place / "base")
    folder = trim_pretrained("base", texts, vocab_threshold=0.0, round_to=64, output_dir="out")
    after = weights(folder)
    assert AutoConfig.from_pretrained(folder).vocab_size == 192
    assert len(load_kept_ids(folder)) == len(AutoTokenizer.from_pretrained(folder)) == 170
    assert not after["roberta.embeddings.word_embeddings.weight"][170:].any()
    assert (after["lm_head.bias"][170:] == UNLIKELY).all()


def test_the_record_and_the_card_name_model_languages_and_licences(texts, place):
    tiny.write_xlmr(place / "base")
    (place / "base" / "README.md").write_text("---\nlicense: cc-by-nc-4.0\nlanguage: [aa, bb, cc]\n---\n")
    folder = trim_pretrained("base", texts, vocab_size=120, output_dir="out")
    record = json.loads((folder / "run.json").read_text())
    assert record["data"]["aa"]["sha256"]
    assert record["arguments"]["vocab_size"] == 120
    assert record["finished"]
    report = record["results"]["trimmed"]["out"]["report"]
    assert (report["before"]["vocabulary"], report["after"]["vocabulary"]) == (170, 120)
    card = (folder / "README.md").read_text()
    for part in ("- aa\n- bb\n", "license: cc-by-nc-4.0", "`base`", "`--vocab_size 120`", "Not for commercial use"):
        assert part in card
    again = trim_pretrained(folder, {"aa": texts["aa"]}, licence="mit", output_dir="again")
    card = (again / "README.md").read_text()
    assert "license: mit" in card
    assert "| `model base` | cc-by-nc-4.0 |" in card  # the first model's licence is not forgotten


def test_data_sets_in_memory_are_texts_too(place):
    from datasets import Dataset

    tiny.write_xlmr(place / "base")
    rows = Dataset.from_dict({"said": tiny.text_lines("aa", 60)})
    folder = trim_pretrained("base", {"aa": rows}, text_column="said", output_dir="out")
    assert json.loads((folder / "run.json").read_text())["data"]["aa"]["sha256"] is None


def test_the_check_of_what_was_written_loads_no_second_model(texts, place):
    tiny.write_xlmr(place / "base")
    loaded = []

    def load(*args, **kwargs):
        loaded.append(load_pretrained(*args, **kwargs))
        return loaded[-1]

    with mock.patch.object(writing, "load_pretrained", load):
        trim_pretrained("base", texts, output_dir="out")
    ((model, absent),) = loaded
    assert absent == set()
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}


@pytest.mark.parametrize("spoilt", ["a value", "a dtype", "a name"])
def test_a_model_that_was_not_written_as_it_was_trimmed_is_no_product(spoilt, texts, place):
    tiny.write_xlmr(place / "base")

    def spoil(place: Path, model, absent) -> None:
        path = place / "model.safetensors"
        content = load_file(path)
        value = content.pop(NAME)
        if spoilt == "a value":
            value[5] += 1
        content[NAME + "s" if spoilt == "a name" else NAME] = value.bfloat16() if spoilt == "a dtype" else value
        save_file(content, path, {"format": "pt"})
        check(place, model, absent)

    check = writing._check
    with (
        mock.patch.object(writing, "_check", spoil),
        pytest.raises(ProductError, match=r"out/.*: was written, but .*word_embeddings\.weight"),
    ):
        trim_pretrained("base", texts, output_dir="out")
    assert not (place / "out").exists()
