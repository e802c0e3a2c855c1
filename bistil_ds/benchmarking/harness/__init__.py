"""What all benchmarks share: flags, record, clock, statistics, plots, and the processes in which models run."""
