"""The sparse fine-tuning file and its algebra."""
