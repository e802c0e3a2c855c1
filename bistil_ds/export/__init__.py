"""One plain Hugging Face folder of a model and its fine-tunings: weights, card, ONNX."""
