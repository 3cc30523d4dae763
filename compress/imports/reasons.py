"""Why layers and operations of a model are in no chain, and what would do, for the readers of all formats."""

from __future__ import annotations

UNKNOWN_INPUT = "follows a layer whose output has no known shape"
CHANNELS_FIRST = "is channels_first; the model with data_format='channels_last' would do"
THREE = "is over three axes; Conv1D or Conv2D would do"
PER_CHANNEL = "has kernels of single channels or places; Conv1D or Conv2D would do"
EDGES = 'moves the edges of a sample; padding "same" of the convolution would do'
AVERAGES = "averages, which runtimes round differently; MaxPooling or strides would do"
POOLS_ALL = "leaves no place of a sample; Flatten would do"
RECURRENT = "is recurrent; a dense autoencoder of windows would do"
JOINS = "joins or moves tensors; a chain of layers would do"
CODE = "is code that the file holds, which is not read or run; a layer of Keras in its place would do"
STRIP = "is quantization or clustering in training; the model after tfmot's strip_clustering, or the float one, would do"
DILATED = "is dilated; a larger kernel or strides would do"
GROUPS = "has groups; a convolution of all channels would do"
OUTPUT_PADDING = "has output_padding; lengths that the strides divide would do without"
GAPS = "has strides beyond its kernel, which leave gaps; strides of at most the kernel would do"
POOL_STRIDES = "pools windows that overlap or leave gaps; strides of the pool's size would do"
INTERPOLATED = "interpolation nearest would do"
