"""`tiedae search`: searches layer sizes, sparsity and bit widths within limits of bytes, error, bits and latency."""
