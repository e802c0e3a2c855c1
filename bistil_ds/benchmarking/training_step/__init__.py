"""One training step: phase 1 beside its floor, under ZeRO, and the sparse stage beside dense fine-tuning."""
