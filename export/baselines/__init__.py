"""The stock converters: their files of the same model, and how they are measured."""
