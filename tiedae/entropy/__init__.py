"""Entropy coding of codes and residuals: what docs/reference/format.md specifies."""
