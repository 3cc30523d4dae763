"""The command line: a module for each command, and what several of them do with files."""

from .entry import main

__all__ = ["main"]
