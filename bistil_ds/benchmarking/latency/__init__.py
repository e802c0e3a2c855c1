"""Measure the latency of models side by side."""
