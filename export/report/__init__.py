"""report.html and MODEL_CARD.md: what a bundle holds, for people."""
