"""A program as a project in C: sources, build files, checks."""
