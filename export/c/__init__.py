"""A program as portable C: `to_c` in `source`."""
