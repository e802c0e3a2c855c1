"""What every command prints: help, one-line errors."""
