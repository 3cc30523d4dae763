"""The version of the package. `pyproject.toml` reads it here, behind a link: a checkout without links cannot be built."""

__version__ = "0.1.0"
