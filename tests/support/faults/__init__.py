"""Kill training runs at chosen moments, let the same command go on, and compare the end with that of a whole run."""
