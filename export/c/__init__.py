"""Export to C."""
