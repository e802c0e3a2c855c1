"""Latency of MMTs, their students and other small models: percentiles, and time over the MMT's, pair by pair."""

from bistil_ds.benchmarking.run_benchmark import command_of

main = command_of("latency")

if __name__ == "__main__":
    raise SystemExit(main())
