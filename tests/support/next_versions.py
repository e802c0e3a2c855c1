"""Install the newest release of every library that pyproject.toml bounds from above; say what the suite broke on.

Run it by the interpreter of a virtual environment that holds the tested set, as `make test-next` does:

    python tests/support/next_versions.py install [--torch] [NAME ...]
    python tests/support/next_versions.py report SUITE.xml

`install` upgrades the named libraries, or without names all of them but torch. torch moves only where `--torch` or its
own name asks for it, since a newer one brings gigabytes of CUDA. Otherwise it stays at the tested version, and the
others move only to releases that go with it. `report` reads pytest's JUnit file, groups the failed tests by the library
in which their traceback ends, and says which bound could move. It exits with 1 where a test failed.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = next(folder for folder in Path(__file__).resolve().parents if (folder / "pyproject.toml").is_file())
UNKNOWN = "no library named"


def bounded() -> dict[str, Requirement]:
    """Return the requirements with an upper bound that this platform needs, those of extras too, by import names."""
    found = [one for one in requirements() if one.marker is None or one.marker.evaluate()]
    return {one.name.replace("-", "_"): one for one in found if upper_bound(one)}


def requirements() -> list[Requirement]:
    """Return what pyproject.toml requires: the dependencies, and those of all extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    return [Requirement(line) for line in lines]


def upper_bound(requirement: Requirement) -> str | None:
    """Return the version below which a requirement stays; None if it has no upper bound."""
    return next((one.version for one in requirement.specifier if one.operator == "<"), None)


def pins() -> dict[str, str]:
    """Return the version of each library in constraints.txt, by its import name."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if "==" in line)
    return {name.strip().replace("-", "_"): pinned.strip() for name, pinned in pairs}


def install(names: list[str], with_torch: bool) -> None:
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


def failures(suite: Path) -> dict[str, list[str]]:
    """Return library → the failed tests whose traceback ends in it."""
    found: dict[str, list[str]] = defaultdict(list)
    for case in ElementTree.parse(suite).iter("testcase"):
        for broken in [*case.iter("failure"), *case.iter("error")]:
            name = f"{case.get('classname')}::{case.get('name')}"
            message = (broken.get("message") or "").splitlines()[:1]
            found[culprit(broken.text or "", " ".join(message))].append(f"{name}: {' '.join(message)[:160]}")
    return found


def culprit(traceback: str, message: str) -> str:
    """Return the bounded library whose file a traceback names last, else one that the message names, else `UNKNOWN`."""
    libraries = set(bounded())
    files = [name for name in re.findall(r"site-packages/(\w+)", traceback) if name in libraries]
    named = [name for name in re.findall(r"\w+", message) if name in libraries]
    return files[-1] if files else named[0] if named else UNKNOWN


def report(suite: Path) -> int:
    """Print what failed and what each bound could become; return 1 if a test failed, 2 if there is no report."""
    if not suite.is_file():
        print(f"error: {suite} is not there: the suite did not come to its end", file=sys.stderr)
        return 2
    broken = failures(suite)
    for library, tests in sorted(broken.items()):
        print(f"\n{library}: {len(tests)} failed")
        print("\n".join(f"  {test}" for test in tests))
    print(f"\n{'library':<18}{'tested':<12}{'here':<12}{'bound':<10}")
    for name, requirement in sorted(bounded().items()):
        row = f"{name:<18}{pins()[name]:<12}{version(name):<12}{'<' + str(upper_bound(requirement)):<10}"
        print(row + advice(name, requirement, broken))
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("install", help="upgrade libraries in this environment")
    one.add_argument("--torch", action="store_true", help="upgrade torch as well; else it stays, unless it is named")
    one.add_argument("names", nargs="*", metavar="NAME", help="upgrade these alone; default: all but torch")
    two = commands.add_parser("report", help="say what broke")
    two.add_argument("suite", type=Path, help="what pytest --junitxml wrote")
    arguments = parser.parse_args()
    if arguments.command == "report":
        return report(arguments.suite)
    install(arguments.names, arguments.torch)
    return 0


if __name__ == "__main__":
    sys.exit(main())
