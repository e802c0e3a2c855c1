"""Benchmarks of a training step: phase 1 against a step without losses, under ZeRO too; sparse against dense tuning."""
