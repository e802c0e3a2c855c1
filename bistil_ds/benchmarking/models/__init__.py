"""Name, load and run the models that benchmarks compare."""
