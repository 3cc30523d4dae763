"""Benchmark: latency, memory, start-up time and file size."""
