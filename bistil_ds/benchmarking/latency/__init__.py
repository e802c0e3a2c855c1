"""Latency of models side by side."""
