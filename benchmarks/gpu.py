"""Prove the whole path on a GPU in a few minutes, or rehearse it on a CPU; leave one page and a few records."""

from bistil_ds.benchmarking.gpu.command import main

if __name__ == "__main__":
    raise SystemExit(main())
