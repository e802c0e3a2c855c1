"""Measure zero-shot transfer on real data: teacher, students and baselines, by the commands a user types."""

from bistil_ds.benchmarking.run_benchmark import command_of

main = command_of("transfer")

if __name__ == "__main__":
    raise SystemExit(main())
