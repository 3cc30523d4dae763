"""Runtimes: one table, one protocol."""
