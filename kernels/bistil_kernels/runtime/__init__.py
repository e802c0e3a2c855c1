"""Code that all operations share: the choice between kernels and references, dtypes, launches."""
