"""Make and run a model's files for other engines: ONNX Runtime and OpenVINO, fp32 and int8."""
