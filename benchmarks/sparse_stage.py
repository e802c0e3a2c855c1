"""Measure seconds and bytes of the sparse stage beside dense fine-tuning, on a student of mBERT's width."""

from bistil_ds.benchmarking.run_benchmark import command_of

main = command_of("sparse_stage")

if __name__ == "__main__":
    raise SystemExit(main())
