"""Latency of MMTs, their students and other small models: percentiles, and time over the MMT's, pair by pair."""

from __future__ import annotations

from bistil_ds.benchmarking.latency.flags import main

if __name__ == "__main__":
    raise SystemExit(main())
