"""`tiedae recipe --data`: a recipe for data that nobody has seen, with its reasons."""

from .suggestion import Suggestion, Wish, model_recipe, suggest

__all__ = ["Suggestion", "Wish", "model_recipe", "suggest"]
