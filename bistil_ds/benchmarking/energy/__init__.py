"""Energy of models side by side, and of a whole command."""
