"""The files: what they hold, read and written; duplicates in them and the proof of storage."""
