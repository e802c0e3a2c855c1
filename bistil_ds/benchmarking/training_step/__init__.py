"""Benchmarks of a training step: phase 1 beside a step without distillation losses, and sparse beside dense tuning."""
