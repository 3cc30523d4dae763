"""`tiedae search`: which sizes, sparsities and widths of integers fit into given bytes, error and latency."""
