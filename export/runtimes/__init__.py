"""Every runtime as one row of a table, behind one protocol."""
