"""Measure tokens/s, MFU and peak memory of a phase-1 training step, beside its floor and the published way."""

from bistil_ds.benchmarking.run_benchmark import command_of

main = command_of("throughput")

if __name__ == "__main__":
    raise SystemExit(main())
