"""Benchmark BiStil's claims: run a grid of systems by the public commands, and judge each claim by a rule."""
