"""Measure tokens/s, MFU and memory of a phase-1 step, beside the published way and a step without distillation."""

from bistil_ds.benchmarking.run_benchmark import command_of

main = command_of("throughput")

if __name__ == "__main__":
    raise SystemExit(main())
