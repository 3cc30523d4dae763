"""The exception hierarchy of tiedae.

TiedaeError
├── InputError        invalid input: exit code 2
│   ├── RecipeError   a key or value of a recipe or configuration
│   ├── DataError     samples that cannot be used for training or measurement
│   ├── DivergedError training whose loss is not finite
│   ├── NotBuiltError a model that has no variables yet
│   └── FormatError   a file that is damaged or of another kind
├── ExportError       a model that a target cannot express: exit code 2
├── UnavailableError  a missing runtime or device: a skipped row with the reason, else exit code 2
│   └── NotInstalledError  a package or program that is not installed
└── CheckError        a check ran and failed: exit code 1

`listed` puts names into a message, `printable` makes them one line.
"""

from __future__ import annotations

from collections.abc import Sequence

MAX_LISTED = 12
"""Names in a message at most."""


def listed(names: Sequence[object]) -> str:
    """The names, separated by commas; of more than `MAX_LISTED` the first ones, and how many there are."""
    more = f", … ({len(names)})" if len(names) > MAX_LISTED else ""
    return ", ".join(map(str, names[:MAX_LISTED])) + more


def printable(text: str) -> str:
    """The text with its control characters escaped."""
    return text if text.isprintable() else "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


class TiedaeError(Exception):
    """Base class; the text is one line that a user can act on."""


class InputError(TiedaeError):
    """Invalid input. The text may quote what a stranger wrote: control characters are escaped, so that it stays one line."""

    def __str__(self) -> str:
        return printable(super().__str__())


class RecipeError(InputError, ValueError):
    """An invalid key or value of a recipe or configuration; a ValueError, so that msgspec adds the path."""


class DataError(InputError):
    """Samples that cannot be used: empty, ragged, not numeric, not finite, or of another shape."""


class DivergedError(InputError):
    """Training whose loss is not finite."""


class NotBuiltError(InputError, AttributeError):
    """A model that has not seen data yet has no variables; an AttributeError too, which Keras expects."""


class FormatError(InputError):
    """A file that is damaged, truncated or of another kind than its name."""


class ExportError(TiedaeError):
    """The model cannot be expressed in the target's operations."""


class UnavailableError(TiedaeError):
    """A runtime or device that is not installed or fails to start."""


class NotInstalledError(UnavailableError):
    """A package or program that is not installed."""


class CheckError(TiedaeError):
    """A parity, storage, hash or quality check ran and failed."""
