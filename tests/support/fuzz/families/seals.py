"""Folders of runs with sealed checkpoints, in which a seal, a file or a name was changed."""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from bistil_ds.runs import checkpoints
from bistil_ds.runs.folder import run_folder
from bistil_ds.runs.seals import SEAL, Seals, damage, read_seal
from fuzz.family import Family
from fuzz.mutation import mutated_bytes, mutated_json

KEY = "k" * 40
BEST, NEWEST = "checkpoint-2", "checkpoint-4"


@cache
def _whole() -> dict[str, bytes]:
    """Return path → content of a run's folder with two sealed checkpoints; the newer one needs the older one."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        key = folder / "key"
        key.write_text(KEY)
        key.chmod(0o600)
        for place in (folder / "run" / BEST, folder / "run" / NEWEST):
            (place / "global_step2").mkdir(parents=True)
            (place / "model.safetensors").write_bytes(b"weights")
            (place / "latest").write_text("global_step2")
            (place / "global_step2" / "optim_states.pt").write_bytes(b"state")
            state = {"max_steps": 9, "best_model_checkpoint": f"/old/{BEST}"}
            (place / "trainer_state.json").write_text(json.dumps(state))
            checkpoints.seal(place, 2, Seals(str(key)), best=BEST)
        (folder / "run" / "run.json").write_text(json.dumps({"results": {}}))
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def make(rng: Random) -> tuple[dict[str, bytes], dict[str, Any]]:
    files = dict(_whole())
    for _ in range(rng.choice([1, 1, 2])):
        name = rng.choice([f"run/{rng.choice([BEST, NEWEST])}/{SEAL}"] * 3 + sorted(files))
        if name.endswith(".json") and rng.random() < 0.7:
            files[name] = mutated_json(rng, json.loads(_whole()[name]))
        elif rng.random() < 0.2:
            files[f"{name}{rng.choice(['x', ' ', '.part', 'ü'])}"] = files.pop(name, b"")
        else:
            files[name] = mutated_bytes(rng, files.get(name, b""))
    wanted = rng.choice(["true", "last", NEWEST, BEST, "checkpoint-9", "x"])
    return files, {"wanted": wanted, "trust": rng.random() < 0.5}


def run(folder: Path, about: Mapping[str, Any]) -> None:
    """Find the checkpoint to go on from; what is found is whole, and as it was sealed."""
    seals, run = Seals(str(folder / "key"), about["trust"]), folder / "run"
    if (folder / "key").is_file():
        (folder / "key").chmod(0o600)
    run_folder(str(run), "general", "true")
    wanted = about["wanted"] if about["wanted"] in checkpoints.NEWEST else str(run / about["wanted"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = checkpoints.find_checkpoint(run, wanted, seals)
    if found is None:
        return
    assert damage(found) is None
    assert read_seal(found)["files"]
    checkpoints.best_of(found)
    checkpoints.planned_steps(found)
    checkpoints.world_size_of(found)
    checkpoints.prune(found, 1, BEST)


FAMILY = Family("seals", 0.06, make, run)
