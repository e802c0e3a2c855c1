"""What every command prints."""
