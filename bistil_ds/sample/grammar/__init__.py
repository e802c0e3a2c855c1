"""The made-up grammar of three languages, from which sentences and their annotation are drawn."""
