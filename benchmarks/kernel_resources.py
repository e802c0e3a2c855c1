"""Report what each Triton kernel's machine code needs on sm_80 and sm_90, compiled ahead of time without a GPU."""

from bistil_ds.benchmarking.run_benchmark import command_of

main = command_of("kernel_resources")

if __name__ == "__main__":
    raise SystemExit(main())
