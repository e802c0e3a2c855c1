"""Benchmarks of a training step: phase 1 beside a step without losses, also under ZeRO; sparse beside dense tuning."""
