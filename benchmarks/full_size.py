"""Seconds and peak memory of trimming, building and one training step at the size of XLM-R-base and mBERT."""

from __future__ import annotations

from bistil_ds.benchmarking.full_size.measure import main

if __name__ == "__main__":
    main()
