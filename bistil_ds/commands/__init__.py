"""The commands, one file each with the name that the user types, and what they share."""
