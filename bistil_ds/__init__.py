"""BiStil under DeepSpeed: a massively multilingual Transformer and two languages in, a small bilingual student out."""
