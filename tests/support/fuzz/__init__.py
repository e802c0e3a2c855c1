"""Give readers, parsers and loaders made-up input that is nearly right; each result is a value or one clear line."""
