"""From a recipe to a bundle: sources, imports of models, stages, runs, suggestion and search."""
