"""Count the operations of models from their shapes, without weights."""
