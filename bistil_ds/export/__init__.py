"""Export a model and its fine-tunings as one plain Hugging Face folder with weights, card and ONNX file."""
