"""Hold what all benchmarks share: flags, record, clock, statistics, plots and the processes that measure."""
