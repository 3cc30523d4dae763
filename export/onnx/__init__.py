"""ONNX: writer, reader, and the table of its operations."""
