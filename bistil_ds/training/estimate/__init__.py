"""What a run will take, before it runs: the arithmetic, the first steps that are timed, and the table of a dry run."""
