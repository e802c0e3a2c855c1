"""Measuring: what a step costs, side by side."""
