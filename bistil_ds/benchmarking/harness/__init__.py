"""What all benchmarks share: flags, record, clock, statistics, tables, plots and measurement processes."""
