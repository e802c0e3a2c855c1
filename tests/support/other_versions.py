"""Install the newest or the lowest releases of the libraries in pyproject.toml; say what the suite broke on.

Run it by the interpreter of a virtual environment, as `make test-next` and `make test-lowest` do:

    python tests/support/other_versions.py newest [--torch] [NAME ...]
    python tests/support/other_versions.py lowest
    python tests/support/other_versions.py report [--lowest] SUITE.xml

`newest`, where the tested set is, upgrades the named libraries, or without names all that pyproject.toml bounds from
above but torch. torch moves only where `--torch` or its own name asks for it, since a newer one brings gigabytes of
CUDA. Otherwise it stays at the tested version, and the others move only to releases that go with it.

`lowest`, in an empty environment, installs every dependency at the lowest release that pyproject.toml allows and that
goes with the others. It needs uv, which pip installs. What the tests need comes at the tested version or a newer one;
the tests of our extras skip themselves, and those of mteb.

`report` reads pytest's JUnit file, groups the failed tests by the library in which their traceback ends, and says which
bound could move, or must. It exits with 1 where a test failed.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import tomllib
from collections import defaultdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from xml.etree import ElementTree

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = next(folder for folder in Path(__file__).resolve().parents if (folder / "pyproject.toml").is_file())
UNKNOWN = "no library named"
TEST_TOOLS = (
    "conllu",
    "hypothesis",
    "pytest",
    "pytest-timeout",
    "pytest-xdist",
    "ruff",
    "ufal.chu_liu_edmonds",
)  # of `dev`


def bounded() -> dict[str, Requirement]:
    """Return the requirements with an upper bound that this platform needs, those of extras too, by import names."""
    return {name: one for name, one in by_name(requirements()).items() if bound(one, "<")}


def by_name(required: list[Requirement]) -> dict[str, Requirement]:
    """Return the requirements that this platform needs, by import names, as far as these follow from the names."""
    return {one.name.replace("-", "_"): one for one in required if one.marker is None or one.marker.evaluate()}


def requirements(extras: bool = True) -> list[Requirement]:
    """Return what pyproject.toml requires: the dependencies, and those of all extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    more = project["optional-dependencies"].values() if extras else ()
    lines = [*project["dependencies"], *(line for extra in more for line in extra)]
    return [Requirement(line) for line in lines]


def bound(requirement: Requirement, operator: str) -> str | None:
    """Return the version that stands after an operator in a requirement; None if there is none."""
    return next((one.version for one in requirement.specifier if one.operator == operator), None)


def pins() -> dict[str, str]:
    """Return the version of each library in constraints.txt, by its import name."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if "==" in line)
    return {name.strip().replace("-", "_"): pinned.strip() for name, pinned in pairs}


def install_newest(names: list[str], with_torch: bool) -> None:
    """Upgrade `names`, by default all bounded libraries except torch, to the newest releases that go together.

    torch stays at the tested version unless `names` holds it or `with_torch` is true.
    Our own bounds do not stop pip, which looks only at the requirements of the libraries that it is asked to install.
    Its complaint that our bounds are broken is expected.
    """
    chosen = names or [name for name in bounded() if name != "torch"]
    if unknown := set(chosen) - set(bounded()):
        sys.exit(f"error: not bounded in pyproject.toml: {', '.join(sorted(unknown))}")
    torch = ["torch"] if with_torch or "torch" in chosen else [f"torch=={pins()['torch']}"]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--upgrade", *chosen, *torch]
    subprocess.run(command, check=True)


def install_lowest() -> None:
    """Install all dependencies at the lowest releases that go together, what the tests need, and this project."""
    uv = [sys.executable, "-m", "uv", "pip"]
    here = ["--quiet", "--python", sys.executable]
    tools = [str(one) for one in requirements() if one.name in TEST_TOOLS]
    with tempfile.TemporaryDirectory() as folder:
        lowest = f"{folder}/lowest.txt"
        order = [*uv, "compile", *here, "--resolution", "lowest-direct", "--output-file", lowest]
        subprocess.run([*order, str(ROOT / "pyproject.toml")], check=True, stdout=subprocess.DEVNULL)
        subprocess.run([*uv, "install", *here, "--requirement", lowest, *tools], check=True)
    subprocess.run([*uv, "install", *here, "--no-deps", "--editable", str(ROOT)], check=True)


def is_installed(name: str) -> bool:
    """Return whether a library is here, as those of our extras are not in the lowest set."""
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def failures(suite: Path, libraries: set[str]) -> dict[str, list[str]]:
    """Return library → the failed tests whose traceback ends in it."""
    found: dict[str, list[str]] = defaultdict(list)
    for case in ElementTree.parse(suite).iter("testcase"):
        for broken in [*case.iter("failure"), *case.iter("error")]:
            name = f"{case.get('classname')}::{case.get('name')}"
            message = (broken.get("message") or "").splitlines()[:1]
            found[culprit(broken.text or "", " ".join(message), libraries)].append(f"{name}: {' '.join(message)[:160]}")
    return found


def culprit(traceback: str, message: str, libraries: set[str]) -> str:
    """Return the library whose file a traceback names last, else one that the message names, else `UNKNOWN`."""
    files = [name for name in re.findall(r"site-packages/(\w+)", traceback) if name in libraries]
    named = [name for name in re.findall(r"\w+", message) if name in libraries]
    return files[-1] if files else named[0] if named else UNKNOWN


def report(suite: Path, lowest: bool = False) -> int:
    """Print what failed and what each bound could become; return 1 if a test failed, 2 if there is no report.

    Args:
        lowest: look at the lower bounds, not at the upper ones.
    """
    if not suite.is_file():
        print(f"error: {suite} is not there: the suite did not come to its end", file=sys.stderr)
        return 2
    libraries = by_name(requirements(extras=False)) if lowest else bounded()
    broken = failures(suite, set(libraries))
    for library, tests in sorted(broken.items()):
        print(f"\n{library}: {len(tests)} failed")
        print("\n".join(f"  {test}" for test in tests))
    operator, advise = (">=", advice_below) if lowest else ("<", advice)
    print(f"\n{'library':<18}{'tested':<12}{'here':<12}{'bound':<10}")
    for name, requirement in sorted(one for one in libraries.items() if is_installed(one[0])):
        limit = f"{operator}{bound(requirement, operator)}"
        print(
            f"{name:<18}{pins().get(name, '-'):<12}{version(name):<12}{limit:<10}" + advise(name, requirement, broken)
        )
    return 1 if broken else 0


def advice(name: str, requirement: Requirement, broken: dict[str, list[str]]) -> str:
    """Return what to do about the upper bound of one library."""
    here = Version(version(name))
    if here in requirement.specifier:
        return "stays"
    if name in broken:
        return f"stays: {len(broken[name])} failed in it"
    doubt = f" once {len(broken[UNKNOWN])} failures that name no library are understood" if UNKNOWN in broken else ""
    return f"could move to <{here.major}.{here.minor + 1}{doubt}"


def advice_below(name: str, requirement: Requirement, broken: dict[str, list[str]]) -> str:
    """Return what to do about the lower bound of one library."""
    if name in broken:
        return f"should rise: {len(broken[name])} failed in it"
    here, lower = Version(version(name)), Version(str(bound(requirement, ">=")))
    if here == lower:
        return "stays"
    return "stays, or rises to what is here: nothing lower is published, or goes with the others"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("newest", help="upgrade libraries in this environment")
    one.add_argument("--torch", action="store_true", help="upgrade torch as well; else it stays, unless it is named")
    one.add_argument("names", nargs="*", metavar="NAME", help="upgrade these alone; default: all but torch")
    commands.add_parser("lowest", help="install the lowest releases that go together")
    two = commands.add_parser("report", help="say what broke")
    two.add_argument("suite", type=Path, help="what pytest --junitxml wrote")
    two.add_argument("--lowest", action="store_true", help="look at the lower bounds")
    arguments = parser.parse_args()
    if arguments.command == "report":
        return report(arguments.suite, arguments.lowest)
    install_lowest() if arguments.command == "lowest" else install_newest(arguments.names, arguments.torch)
    return 0


if __name__ == "__main__":
    sys.exit(main())
