"""Measure the energy of MMTs, their students and other small models: joules a sentence without idle power."""

from bistil_ds.benchmarking.run_benchmark import command_of

main = command_of("energy")

if __name__ == "__main__":
    raise SystemExit(main())
