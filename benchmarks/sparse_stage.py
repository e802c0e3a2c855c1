"""The sparse stage beside dense fine-tuning, per second and per byte, on a student of mBERT's width."""

from __future__ import annotations

from bistil_ds.benchmarking.training_step.sparse_flags import main

if __name__ == "__main__":
    raise SystemExit(main())
