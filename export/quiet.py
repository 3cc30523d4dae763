"""Keeps what native libraries print away from the terminal."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO


@contextmanager
def quiet() -> Iterator[BinaryIO]:
    """Send standard output and standard error, C++ libraries included, to a temporary file while the block runs.

    Yields that file, so that the reason of a failure can be read from it. Exceptions pass through. The redirection is of the
    whole process: nothing else should write to the terminal at the same time.
    """
    streams = [stream for stream in (sys.stdout, sys.stderr) if stream is not None]
    with tempfile.TemporaryFile() as sink:
        for stream in streams:
            stream.flush()
        saved = [(descriptor, os.dup(descriptor)) for descriptor in (1, 2)]
        try:
            for descriptor, _ in saved:
                os.dup2(sink.fileno(), descriptor)
            yield sink
        finally:
            for stream in streams:
                stream.flush()
            for descriptor, copy in saved:
                os.dup2(copy, descriptor)
                os.close(copy)
