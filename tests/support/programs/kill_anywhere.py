"""Kill training runs at many places, let the same commands go on, and write down what differs from runs left alone.

    python kill_anywhere.py [--kills 100] [--seed 1] [--folder DIR] [--output_dir DIR] [--runs NAME ...]

Prints one line a run, and writes a record with each kill to `output_dir`. Exit code 1 if anything differs; then the
run's folder stays in `folder`. All ranks are forks of this process, which imports the libraries once; each runs the
`main` of a command.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path

import torch
from faults.campaign import Trial, campaign, count, in_words
from faults.life import warm_up
from faults.runs import RUNS, write_material

from bistil_ds.benchmarking.harness.result_file import RESULTS, ResultFile


def tell(trial: Trial) -> None:
    places = " ".join("-".join(filter(None, (kill["area"], kill.get("operation")))) for kill in trial.kills)
    print(f"{trial.seed} {trial.run}: {len(trial.kills)} kills: {places}", *trial.differences, sep="\n  ", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill training runs, let them go on, and compare the ends.")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="for the runs; default: a temporary folder")
    parser.add_argument("--output_dir", type=Path, default=RESULTS / "faults", help="for the record")
    parser.add_argument("--runs", nargs="*", default=[run.name for run in RUNS], help="only these configurations")
    flags = parser.parse_args()
    folder = flags.folder or Path(tempfile.mkdtemp(prefix="bistil-kills-"))
    os.environ["XDG_CONFIG_HOME"] = str(folder / "config")  # keeps the key that signs seals apart from the user's own
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    warm_up()
    write_material(folder / "material")
    runs = [run for run in RUNS if run.name in flags.runs]
    arguments = {"kills": flags.kills, "runs": [run.name for run in runs]}
    trials: list[Trial] = []
    with ResultFile(flags.output_dir, "kills", torch.device("cpu"), arguments, {"seed": flags.seed}) as record:
        # without the folders, which make no difference
        record.content["command"] = ["kill_anywhere.py", "--kills", str(flags.kills), "--seed", str(flags.seed)]
        for trial in campaign(runs, folder / "material", folder, flags.kills, flags.seed, tell):
            trials.append(trial)
            record.content["rows"], record.content["counts"] = [asdict(one) for one in trials], count(trials)
    print(in_words(record.content["counts"]), record.content["counts"], sep="\n")
    differs = any(trial.differences for trial in trials)
    if not differs:
        shutil.rmtree(folder)
    return int(differs)


if __name__ == "__main__":
    raise SystemExit(main())
