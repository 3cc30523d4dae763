"""Samples: readers of files, splits, scales, labels, intervals, noise, patches and windows."""
