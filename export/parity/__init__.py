"""Numbers against numbers: the parity engine, what it is held against, and what CI reads of it."""
