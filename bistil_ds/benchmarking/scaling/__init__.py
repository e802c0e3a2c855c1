"""Compute the memory that phase 1 needs on many GPUs, and the bytes that it sends; check both on this machine."""
