"""Dependency parsing: the task, its parser and maximum spanning trees."""
