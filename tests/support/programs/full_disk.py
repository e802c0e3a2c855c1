"""Run phase 1 on a disk that is too small, make space and run it again, for several sizes of the disk.

    python full_disk.py DISK FLAGS

DISK is a folder, on which this program mounts small disks of its own; FLAGS is a JSON list of the flags of
`general.py`, whose output folder lies on DISK. The last line that is printed is a JSON object: kilobytes → [exit code,
lines on standard error, exit code after space was made, whether the weights are those of a disk that is large enough].
"""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from pathlib import Path

from safetensors.torch import load_file

from bistil_ds.commands import general

ENOUGH = 64 * 1024  # kilobytes
STEPS = 9  # disks of different sizes


def resize(disk: Path, kilobytes: int, *options: str) -> None:
    words = ["mount", "-t", "tmpfs", "-o", ",".join([*options, f"size={kilobytes}k"]), "tmpfs", str(disk)]
    subprocess.run(words, check=True)


def run(flags: list[str]) -> tuple[int, list[str]]:
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        code = general.main(flags)
    return code, [line for line in said.getvalue().splitlines() if line.strip()]


def main(disk: Path, flags: list[str]) -> None:
    product = Path(flags[flags.index("--output_dir") + 1]) / "model.safetensors"
    resize(disk, ENOUGH)
    assert run(flags)[0] == 0
    whole = load_file(product)
    used = sum(path.stat().st_size for path in disk.rglob("*") if path.is_file()) // 1024
    found = {}
    for step in range(STEPS):
        resize(disk, kilobytes := 8 + used * step // STEPS)
        code, lines = run([*flags, "--disable_tqdm", "true"])
        resize(disk, ENOUGH, "remount")
        again, more = run([*flags, "--disable_tqdm", "true"])
        weights = load_file(product) if again == 0 else {}
        same = weights.keys() == whole.keys() and all(weights[name].equal(whole[name]) for name in whole)
        found[kilobytes] = code, lines, again, same
        if again:
            print(more)
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
