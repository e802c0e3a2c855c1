"""Measure what hidden-state and attention losses gain on a CPU by knowing their upstream gradient beforehand."""

from bistil_ds.benchmarking.run_benchmark import command_of

main = command_of("kernel_upstream")

if __name__ == "__main__":
    raise SystemExit(main())
