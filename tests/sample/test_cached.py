"""Test that the sample is made anew exactly when the code that shapes it changes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from reading_code.import_graph import imports, modules, reached

import bistil_ds
from bistil_ds.commands import sample_runs
from bistil_ds.errors import Notice
from bistil_ds.sample import cached
from bistil_ds.sample.cached import SOURCES, code_hash

PACKAGE = Path(bistil_ds.__file__).parent
# `sample/mmt.py` reaches these, but they shape no weight and no sentence.
WITHOUT_INFLUENCE = {
    *("console", "distributed", "errors", "runs", "training/progress.py", "sample/cached.py"),
    *("models", "pretraining"),  # these measure the model and read cards
}


def test_every_module_behind_the_model_and_the_corpora_counts() -> None:
    places = modules()
    packages = {name for name, path in places.items() if path.name == "__init__.py"}
    # packages are left out, or what stands beside an imported module would count
    graph = {name: targets - packages for name, targets in imports().items()}
    behind = [places[name] for name in reached("bistil_ds.sample.mmt", graph)]
    paths = {str(path.relative_to(PACKAGE)) for path in behind}
    shaping = {path for path in paths if not {path, path.split("/")[0], path.split(".")[0]} & WITHOUT_INFLUENCE}
    assert shaping - set(SOURCES) == set()


@pytest.mark.parametrize("source", SOURCES)
def test_a_source_exists(source: str) -> None:
    assert (PACKAGE / source).is_file()


@pytest.mark.parametrize("source", [SOURCES[0], "sample/grammar/verbs.py", SOURCES[-1]])
def test_a_touched_source_changes_the_key(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = cached._recipe_hash()
    read = Path.read_text

    def touched(path: Path, **kwargs: str) -> str:
        return read(path, **kwargs) + ("\n_more = 1\n" if path == PACKAGE / source else "")

    monkeypatch.setattr(Path, "read_text", touched)
    assert cached._recipe_hash() != before


@pytest.mark.parametrize("source", ["sample/tasks.py", "sample/defaults.py", "tuning/trainer.py"])
def test_a_touched_source_changes_the_key_of_trained_models(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sample_runs._code_hash.__wrapped__()
    read = Path.read_text

    def touched(path: Path, **kwargs: str) -> str:
        return read(path, **kwargs) + ("\n_more = 1\n" if path == PACKAGE / source else "")

    monkeypatch.setattr(Path, "read_text", touched)
    assert sample_runs._code_hash.__wrapped__() != before


def test_another_model_in_the_package_changes_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cached, "SHIPPED", shutil.copytree(cached.SHIPPED, tmp_path / "model"))
    before = cached._recipe_hash()
    (tmp_path / "model" / "config.json").write_text("{}")
    assert cached._recipe_hash() != before


def test_the_key_is_of_what_the_code_does(tmp_path: Path) -> None:
    path = tmp_path / "code.py"

    def key(text: str) -> str:
        path.write_text(text)
        return code_hash([path])

    plain = key('"""Says."""\nSEED = 1\n\n\ndef f():\n    """Says."""\n    return SEED\n')
    assert key('"""Says it better."""\nSEED = 1  # why\n\ndef f():\n    "Says, too."\n    return SEED\n') == plain
    assert key('"""Says."""\nSEED = 2\n\n\ndef f():\n    """Says."""\n    return SEED\n') != plain
    assert key('"""Says."""\nSEED = 1\n\n\ndef f():\n    """Says."""\n    return SEED + 1\n') != plain


def test_a_damaged_part_of_the_sample_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BISTIL_CACHE", str(tmp_path))
    made = []

    def make(folder: Path) -> None:
        made.append(folder)
        (folder / "en.txt").write_text("bakelo.")

    folder = cached.cached("part", make)
    assert cached.cached("part", make) == folder
    assert len(made) == 1
    (folder / "en.txt").write_text("bakelu.")
    with pytest.warns(Notice, match="en.txt: not the bytes that were written; this part of the cached sample is made"):
        assert cached.cached("part", make) == folder
    assert (folder / "en.txt").read_text() == "bakelo."
    assert [path.name for path in folder.parent.iterdir()] == ["part"]
    assert len(made) == 2
