"""The bundle: the folder that a user ships, its manifest, golden vectors, and the results that metrics.json holds."""
