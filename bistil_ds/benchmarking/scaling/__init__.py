"""The benchmark of what phase 1 needs on many GPUs: memory and bytes sent, computed, and checked on this machine."""
