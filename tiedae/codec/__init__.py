"""The codec: samples to codes and back, and the files that hold them."""
