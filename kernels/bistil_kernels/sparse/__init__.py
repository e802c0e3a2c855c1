"""Choose, read, train and write K entries of a model's weights."""
