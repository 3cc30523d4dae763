"""Models that somebody else trained: their files read to a chain of layers, and what of it is tied. Imports no TensorFlow."""
