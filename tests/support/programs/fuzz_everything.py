"""Give readers, loaders, trimming and flags made-up inputs, and write down what came of them.

    python fuzz_everything.py [--inputs 100000] [--seed 1] [--families NAME ...] [--output_dir DIR] [--found DIR]

Prints which lines of the readers `--measured` inputs do not reach, then a line for each round of a family, and writes
a record to `output_dir`, after each round, too. Exit code 1 if there is a finding; its input is then kept in `found`,
and a test replays it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from datasets import disable_progress_bars
from fuzz.campaign import Tally, campaign, in_words, keep, try_apart, try_here
from fuzz.families import FAMILIES
from fuzz.lines import lines_reached

from bistil_ds.benchmarking.harness.result_file import RESULTS, ResultFile

FOUND = Path(__file__).parents[1] / "fuzz" / "found"


def tell(tally: Tally) -> None:
    row = tally.row()
    print(
        f"{row['family']}: {row['inputs']:,} inputs in {row['seconds']:.0f} s, {row['accepted']:,} accepted, "
        f"{row['refused']:,} refused, slowest {row['slowest']:.2f} s, memory {row['largest'] / 2**20:,.0f} MiB",
        *(f"{where}: {case.about}"[:300] for where, (case, _) in tally.findings.items()),
        sep="\n  ",
        flush=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Give every reader made-up inputs.")
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--families", nargs="*", default=list(FAMILIES), choices=list(FAMILIES))
    parser.add_argument("--output_dir", type=Path, default=RESULTS / "faults", help="for the record")
    parser.add_argument("--found", type=Path, default=FOUND, help="for inputs of findings")
    parser.add_argument("--measured", type=int, default=8000, help="inputs of which lines are measured")
    parser.add_argument("--here", action="store_true", help="in this process and without a record, to measure lines")
    flags = parser.parse_args()
    torch.set_num_threads(1)
    disable_progress_bars()
    families = [FAMILIES[name] for name in flags.families]
    if flags.here:
        for _ in campaign(families, flags.inputs, flags.seed, try_here):
            pass
        return 0
    for family in families:
        family.case(0)  # makes what all inputs share, before processes are forked
    arguments = {"inputs": flags.inputs, "families": flags.families}
    tallies: dict[str, Tally] = {}
    with ResultFile(flags.output_dir, "fuzz", torch.device("cpu"), arguments, {"seed": flags.seed}) as record:
        record.content["command"] = ["fuzz_everything.py", "--inputs", str(flags.inputs), "--seed", str(flags.seed)]
        record.content["lines"] = lines = lines_reached(families, Path(__file__), flags.measured, flags.seed)
        print(*lines.items(), sep="\n", flush=True)
        for tally in campaign(families, flags.inputs, flags.seed, try_apart):
            tallies[tally.family] = tally
            record.content["rows"] = [one.row() for one in tallies.values()]
            record.content["counts"] = in_words(record.content["rows"])
            record.save()
            tell(tally)
            for path in keep(tally, flags.found):
                print(f"  kept {path}", flush=True)
    print(record.content.get("counts", "no inputs"))
    return int(any(tally.found for tally in tallies.values()))


if __name__ == "__main__":
    sys.exit(main())
