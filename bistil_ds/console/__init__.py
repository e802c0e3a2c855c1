"""What every command prints: help, tables, one-line errors."""
