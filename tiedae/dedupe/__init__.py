"""`tiedae dedupe`: rewrites any .tflite or .onnx file so that duplicate constants are stored once."""
