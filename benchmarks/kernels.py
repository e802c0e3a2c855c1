"""Measure time, memory and achieved rates of every kernel, beside plain PyTorch and other libraries."""

from bistil_ds.benchmarking.run_benchmark import command_of

main = command_of("kernels")

if __name__ == "__main__":
    raise SystemExit(main())
