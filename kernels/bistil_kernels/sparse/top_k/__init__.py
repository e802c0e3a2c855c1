"""Choose the K entries that moved most."""
