"""Read named entities from the formats in which they are published, and convert their tags to IOB2."""

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
    read. In JSON and on the hub, `tags` may also be called `ner_tags`. Tags of IOB1, BIOES, BILOU and similar schemes
    become IOB2. `options.label_map` renames entity types (`DATE=O` removes the entities of that type) or whole tags
    (`B-OTH=O`). `B-LOC=LABEL_1` says that the evaluated model calls B-LOC LABEL_1.

    An I- tag that begins an entity is read as B-. A warning gives the number of these tags, unless the file is in IOB1,
    which writes such tags.

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
