"""What both phases train with: trainer, losses of layers, schedules, and what is measured meanwhile."""
