"""Report what each Triton kernel's machine code needs on GPUs of NVIDIA and AMD, compiled ahead of time."""

from bistil_ds.benchmarking.run_benchmark import command_of

main = command_of("kernel_resources")

if __name__ == "__main__":
    raise SystemExit(main())
