"""Readers of task data: files or hub data sets, streamed as checked examples.

Each reader is a function `read_xxx(source, options) -> Iterator[Example]`. If the data does not follow its format, the
reader raises an `InputError` that names the flag, the file and the place in it. No annotated example is left out
silently.
"""

from bistil_ds.tasks.readers.conllu import read_trees, read_upos
from bistil_ds.tasks.readers.iob2 import read_tagged
from bistil_ds.tasks.readers.pairs import read_pairs
from bistil_ds.tasks.readers.squad import read_questions
from bistil_ds.tasks.readers.text import read_texts

__all__ = ["read_pairs", "read_questions", "read_tagged", "read_texts", "read_trees", "read_upos"]
