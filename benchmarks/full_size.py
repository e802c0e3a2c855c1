"""Measure time and peak memory of trimming, building and one training step at the size of XLM-R-base and mBERT."""

from bistil_ds.benchmarking.run_benchmark import command_of

main = command_of("full_size")

if __name__ == "__main__":
    raise SystemExit(main())
