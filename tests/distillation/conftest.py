"""Fixtures of phase 1: a tokenizer, a teacher's folder, and a function that makes trainers."""

from distilling.trainers import make, teacher_folder, tokenizer

__all__ = ["make", "teacher_folder", "tokenizer"]
