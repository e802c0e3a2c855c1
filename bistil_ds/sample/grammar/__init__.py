"""The made-up grammar of the three languages, from which sentences and their annotation are drawn."""
