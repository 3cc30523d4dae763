"""Records of a recipe, each checked when it is made: stages, tasks, layers, scaling; and what may not be combined."""
