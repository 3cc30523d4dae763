"""Stock converters: their files of the same model, and the measurement of these."""
