"""Measure the memory of MMTs, their students and other small models: parameters, folder, load time, peaks."""

from bistil_ds.benchmarking.run_benchmark import command_of

main = command_of("memory")

if __name__ == "__main__":
    raise SystemExit(main())
