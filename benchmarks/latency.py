"""Measure the latency of MMTs, their students and other small models: percentiles, and ratios to the MMT."""

from bistil_ds.benchmarking.run_benchmark import command_of

main = command_of("latency")

if __name__ == "__main__":
    raise SystemExit(main())
