"""The log of a training: losses, scores and speed, without gaps or repetitions where the run was killed and resumed."""
