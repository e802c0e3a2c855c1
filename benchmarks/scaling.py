"""What phase 1 needs on 1 to 1,024 GPUs: memory of each and bytes each sends, by ZeRO stage."""

from bistil_ds.benchmarking.run_benchmark import command_of

main = command_of("scaling")

if __name__ == "__main__":
    raise SystemExit(main())
