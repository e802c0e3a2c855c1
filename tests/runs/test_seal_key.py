"""Test where the key that signs seals comes from, and that it stays the user's own."""

from __future__ import annotations

import multiprocessing
import os
import stat
import warnings
from pathlib import Path

import pytest

from bistil_ds.errors import InputError, Notice
from bistil_ds.runs import seal_key
from bistil_ds.runs.seal_key import VARIABLE, config_folder, user_key


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Use an empty configuration folder and let every warning be an error."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv(VARIABLE, raising=False)
    warnings.simplefilter("error")
    return tmp_path / "config"


def test_a_key_is_made_once_and_only_the_user_can_read_it(config: Path) -> None:
    key = user_key()
    path = config / "bistil_ds" / "seal.key"
    assert key == user_key() == path.read_bytes().strip()
    assert len(key) == 64
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_of_two_processes_that_make_it_at_once_both_get_the_first(config: Path) -> None:
    (config / "bistil_ds").mkdir(parents=True)
    path = config / "bistil_ds" / "seal.key"
    seal_key._make(path)
    first = path.read_bytes()
    seal_key._make(path)  # as a process that saw no key before the first one was there
    assert path.read_bytes() == first
    path.unlink()
    with multiprocessing.get_context("fork").Pool(4) as pool:
        assert len(set(pool.map(user_key, [None] * 8))) == 1


def test_the_flag_goes_before_the_variable_and_both_before_the_users_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: Path
) -> None:
    for name in ("flag", "variable"):
        (tmp_path / name).write_text(f"{name}, sixteen bytes or more\n")
        (tmp_path / name).chmod(0o600)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "variable"))
    assert user_key(str(tmp_path / "flag")) == b"flag, sixteen bytes or more"
    assert user_key() == b"variable, sixteen bytes or more"
    assert not config.exists()


@pytest.mark.parametrize("content", [None, b"", b"short", b"x" * 5000])
def test_a_named_file_without_a_key_is_an_error(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=f"--seal_key {path}: "):
        user_key(str(path))


@pytest.mark.parametrize("name", ["/dev/zero", "."])
def test_a_device_or_a_folder_is_no_key(name: str) -> None:
    with pytest.raises(InputError, match="--seal_key"):
        user_key(name)


def test_a_key_that_others_can_use_is_pointed_out(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"sixteen bytes or more")
    (tmp_path / "key").chmod(0o644)
    with pytest.warns(Notice, match="others may use it; take their rights with chmod 600"):
        assert user_key(str(tmp_path / "key")) == b"sixteen bytes or more"


def test_without_a_place_for_a_key_there_is_none_and_a_line_says_so(config: Path) -> None:
    config.write_text("a file where the folder would be")
    with pytest.warns(Notice, match="checkpoints are not signed and resuming from them needs --trust_checkpoint"):
        assert user_key() is None


def test_without_a_home_there_is_none_either(monkeypatch: pytest.MonkeyPatch) -> None:
    def home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")  # such a value is not used
    monkeypatch.setattr(Path, "home", home)
    with pytest.warns(Notice, match="no key can be kept"):
        assert user_key() is None


def test_without_the_variable_it_lies_below_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert config_folder() == Path("/home/somebody/.config/bistil_ds")
    assert os.path.isabs(config_folder())
