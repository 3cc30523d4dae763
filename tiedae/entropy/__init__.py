"""Entropy coding of codes and residuals: what docs/format.md specifies."""
