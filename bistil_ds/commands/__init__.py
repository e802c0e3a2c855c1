"""The commands: one file each, named as the user types it, and the files that they share."""
