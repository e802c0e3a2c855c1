"""What is known of a run's flags before it starts: which have an effect, fit together, and may change later."""
