"""TFLite and ONNX: readers, writers, the duplicate search and the storage check."""
