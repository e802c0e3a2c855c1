"""Count the operations of MMTs, their students and other small models: of a forward pass and of a phase-1 step."""

from bistil_ds.benchmarking.run_benchmark import command_of

main = command_of("flops")

if __name__ == "__main__":
    raise SystemExit(main())
