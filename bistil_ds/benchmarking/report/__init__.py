"""The report command: one page of all benchmark results, or two results side by side."""
