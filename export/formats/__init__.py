"""The files: what they hold, read and written; copies in them and the proof of storage."""
