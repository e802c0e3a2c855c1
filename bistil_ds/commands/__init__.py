"""How a user starts anything: one file a command, named as the user types it."""
