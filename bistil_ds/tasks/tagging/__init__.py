"""Tasks that give each word a tag: named entities, parts of speech."""
