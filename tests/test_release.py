"""Test the release: its console commands, its single version number, and a wheel that works from an empty folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SCRIPTS: dict[str, str] = PROJECT["scripts"]
NO_COMMANDS = {"run_command", "sample_runs", "tuning"}  # modules of commands/ that a user does not start
NOT_IN_SDIST = (".ci/", ".dockerignore", ".gitignore")


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_console_command_is_a_function_of_ours(name: str) -> None:
    module, _, function = SCRIPTS[name].partition(":")
    assert callable(getattr(import_module(module), function))


def test_every_command_and_launch_script_has_a_console_command() -> None:
    named = {name.removeprefix("bistil-") for name in SCRIPTS}
    scripts = {path.stem for path in (ROOT / "launch_scripts").glob("*.py")}
    commands = {path.stem for path in (ROOT / "bistil_ds" / "commands").glob("[!_]*.py")} - NO_COMMANDS
    assert named == scripts | {"demo"}
    assert scripts <= commands


@pytest.mark.parametrize("target", SCRIPTS.values())
def test_a_command_starts_as_a_module_too_as_the_demo_and_launchers_do(target: str) -> None:
    path = ROOT / f"{target.partition(':')[0].replace('.', '/')}.py"
    assert 'if __name__ == "__main__":\n    ' in path.read_text(encoding="utf-8")


def test_the_version_stands_in_one_place() -> None:
    again = re.compile(re.escape(PROJECT["version"]) + r"|__version__ *=|^version *[:=]", re.MULTILINE)
    names = [name for name in tracked() if Path(name).suffix in (".py", ".md", ".cff") and name != "CHANGELOG.md"]
    found = [name for name in names if name != "tests/test_release.py" and again.search((ROOT / name).read_text())]
    assert found == []


def tracked() -> list[str]:
    """Return the files of the checkout, without those that git ignores; skip the test outside a checkout."""
    words = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode or not listed.stdout:
        pytest.skip("not a git checkout")
    return [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


# The built files


@dataclass(frozen=True)
class Release:
    """Both built files, and the folder where the wheel was installed without its dependencies."""

    sdist: Path
    wheel: Path
    installed: Path


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """Build the sdist from a copy of the checkout and the wheel from the sdist, then install the wheel."""
    folder = tmp_path_factory.mktemp("release")
    for name in tracked():
        (folder / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / "copy" / name)
    python("-m", "build", "--no-isolation", "--outdir", folder / "dist", folder / "copy")
    [wheel], [sdist] = (folder / "dist").glob("*.whl"), (folder / "dist").glob("*.tar.gz")
    python("-m", "pip", "install", "--no-deps", "--no-index", "--target", folder / "installed", wheel)
    return Release(sdist, wheel, folder / "installed")


def python(*words: object, **options: object) -> str:
    """Run this interpreter and return its output; fail with what it said."""
    given = [sys.executable, *map(str, words)]
    done = subprocess.run(given, capture_output=True, text=True, timeout=600, check=False, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, f"{' '.join(given)}\n{done.stdout}\n{done.stderr}"
    return str(done.stdout)


def from_wheel(release: Release) -> dict[str, str]:
    """Return environment variables with which Python imports the installed wheel instead of the checkout."""
    return {**os.environ, "PYTHONPATH": str(release.installed), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


@pytest.mark.slow
def test_the_sdist_holds_the_checkout(release: Release) -> None:
    with tarfile.open(release.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert [name for name in tracked() if name not in names and not name.startswith(NOT_IN_SDIST)] == []


@pytest.mark.slow
def test_the_wheel_holds_the_packages_with_their_data_and_nothing_else(release: Release) -> None:
    with zipfile.ZipFile(release.wheel) as archive:
        names = set(archive.namelist())
    info = f"bistil_ds-{PROJECT['version']}.dist-info/"
    ours = {name.removeprefix("kernels/") for name in tracked() if name.startswith(("bistil_ds/", "kernels/"))}
    ours |= {f"bistil_ds/{name}" for name in tracked() if name.startswith("ds_configs/")}
    assert {name for name in names if not name.startswith(info)} == ours
    for name in ("ds_configs/zero2.json", "benchmarking/claims/sample.yaml", "py.typed"):
        assert f"bistil_ds/{name}" in ours
    assert {f"{info}licenses/LICENSE", f"{info}entry_points.txt"} <= names


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_an_installed_command_shows_its_help_in_an_empty_folder(name: str, release: Release, tmp_path: Path) -> None:
    script = release.installed / "bin" / name
    assert "usage" in python(script, "--help", cwd=tmp_path, env=from_wheel(release))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_every_module_can_be_imported_from_the_wheel(release: Release, tmp_path: Path) -> None:
    code = """
import pkgutil, sys
from importlib import import_module
for package in ("bistil_ds", "bistil_kernels"):
    top = import_module(package)
    for found in pkgutil.walk_packages(top.__path__, f"{package}."):
        import_module(found.name)
ours = [m for n, m in sys.modules.items() if n.partition(".")[0] in ("bistil_ds", "bistil_kernels")]
print(len(ours), {m.__file__.startswith(sys.argv[1]) for m in ours})
print(sorted({"litserve", "mteb", "nncf", "onnxruntime", "openvino", "sentence_transformers"} & set(sys.modules)))
from bistil_ds.distributed.config import find_config
print(find_config("zero2"))
"""
    found = python("-c", code, release.installed, cwd=tmp_path, env=from_wheel(release)).splitlines()
    assert found[-2] == "[]"  # what extras bring is imported where it is used
    count, where = found[-3].split(maxsplit=1)
    assert int(count) > 200
    assert where == "{True}"
    assert found[-1] == str(release.installed / "bistil_ds" / "ds_configs" / "zero2.json")
