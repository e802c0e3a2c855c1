"""Measure the energy of models side by side, or of a whole command."""
