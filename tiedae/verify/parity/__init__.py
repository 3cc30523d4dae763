"""Parity: comparison of outputs with Keras, the integer program and other files."""
