"""Read named entities from the formats in which they are published, and give their tags in IOB2."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

from bistil_ds.errors import Notice
from bistil_ds.tasks.examples import TaggedSentence
from bistil_ds.tasks.readers.tag_map import TagMap
from bistil_ds.tasks.readers.tagged_rows import TagColumn, tagged_rows
from bistil_ds.tasks.task import ReadOptions


def read_tagged(source: str, options: ReadOptions) -> Iterator[TaggedSentence]:
    """Stream the sentences of a file with columns, of JSON, or of a hub data set with `tokens` and `tags`.

    Columns are separated by tabs or spaces, and an empty line ends each sentence; `find_layout` says which columns are
    read. In JSON and on the hub, `tags` may also be called `ner_tags`. Tags of IOB1, BIOES, BILOU and their like become
    IOB2. `options.label_map` renames entity types (`DATE=O` removes the entities of that type) or whole tags
    (`B-OTH=O`); `B-LOC=LABEL_1` says that the evaluated model's name of B-LOC is LABEL_1.

    If the file uses B- tags but also begins entities with I- tags, these I- tags are read as B-, and a warning gives
    their number.

    Raises:
        InputError: the data does not follow its format; it is not clear which columns are meant; a tag belongs to no
            scheme; renaming leaves an I- tag that continues no entity of its type; or there is no sentence at all.
    """
    tag_map = TagMap(options.label_map)
    column = TagColumn("tags", ("ner_tags",), tag_map.could_be, lambda tag: tag == "O")
    for row in tagged_rows(source, options, column):
        yield TaggedSentence(row.words, tag_map.read(row.tags, row.where), row.place, tag_map.meanings)
    if tag_map.mended and not tag_map.is_iob1:
        first = f"{tag_map.first_mended}: this tag continues no entity of its type, and so begins one"
        warnings.warn(f"{first} (tags read as B- like this: {tag_map.mended})", Notice, stacklevel=2)
