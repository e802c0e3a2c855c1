"""Measure time and memory of preparing generated corpora under a memory limit, beside the way of `datasets`."""

from bistil_ds.benchmarking.run_benchmark import command_of

main = command_of("corpus")

if __name__ == "__main__":
    raise SystemExit(main())
