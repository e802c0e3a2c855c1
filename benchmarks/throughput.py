"""Tokens/s, MFU and peak memory of a phase-1 training step, beside its floor and the published way."""

from __future__ import annotations

from bistil_ds.benchmarking.training_step.flags import main

if __name__ == "__main__":
    raise SystemExit(main())
