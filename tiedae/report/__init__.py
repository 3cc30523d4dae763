"""report.html and MODEL_CARD.md of a bundle."""
