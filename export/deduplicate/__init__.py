"""`tiedae share`: duplicate constants of any .tflite or .onnx file, stored once."""
