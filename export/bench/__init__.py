"""Latency, memory, start-up and bytes, measured side by side."""
