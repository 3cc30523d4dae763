"""Every error that tiedae raises on purpose, as one tree.

TiedaeError
├── InputError        what the user gave is wrong: exit code 2
│   ├── RecipeError   a key or value of a recipe or configuration
│   ├── DataError     samples that cannot be trained or measured on
│   └── FormatError   a file that is damaged or of another kind
├── ExportError       a model that a target cannot express: exit code 2
├── UnavailableError  a runtime or device that is not here: a row with the reason, else exit code 2
│   └── NotInstalledError  the package or program is not installed here
└── CheckError        a check ran and failed: exit code 1
"""


class TiedaeError(Exception):
    """Root of the tree; its text is one line that a user can act on."""


class InputError(TiedaeError):
    """What the user gave is wrong."""


class RecipeError(InputError, ValueError):
    """A key or value of a recipe or configuration is wrong; a ValueError too, to which msgspec adds where it was."""


class DataError(InputError):
    """The samples cannot be used: empty, ragged, not numeric, not finite, or of another shape."""


class FormatError(InputError):
    """A file is damaged, truncated or not of the kind that its name says."""


class ExportError(TiedaeError):
    """The model cannot be expressed in the target's operations."""


class UnavailableError(TiedaeError):
    """A runtime or device that is not installed here, or does not come up."""


class NotInstalledError(UnavailableError):
    """A package or program that is not installed here."""


class CheckError(TiedaeError):
    """A parity, storage, hash or quality check ran and failed."""
