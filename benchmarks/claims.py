"""Measure BiStil's claims on real data: teacher, students and baselines, by the commands a user types."""

from bistil_ds.benchmarking.run_benchmark import command_of

main = command_of("claims")

if __name__ == "__main__":
    raise SystemExit(main())
