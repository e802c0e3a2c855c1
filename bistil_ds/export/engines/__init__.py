"""Write an exported model's files for ONNX Runtime and OpenVINO, and compare them with the model in PyTorch."""
