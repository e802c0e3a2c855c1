"""One page of all results, and two results side by side."""
