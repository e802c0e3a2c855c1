"""Compute what phase 1 needs on 1 to 1,024 GPUs by ZeRO stage: memory of each GPU, and bytes that each sends."""

from bistil_ds.benchmarking.run_benchmark import command_of

main = command_of("scaling")

if __name__ == "__main__":
    raise SystemExit(main())
