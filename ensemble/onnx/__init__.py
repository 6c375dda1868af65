"""The whole ensemble as one ONNX file."""
