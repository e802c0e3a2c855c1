"""Measure how time and memory of phase 1's text preparation grow with text, vocabulary and ranks."""
