"""Keeps the output of native libraries off the terminal.

TensorFlow, LiteRT and ONNX Runtime write to the file descriptors before their log levels can be set.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO, TextIO


@contextlib.contextmanager
def quiet(descriptors: Sequence[int] = (1, 2), *, passes: Callable[[bytes], bool] = lambda _line: False) -> Iterator[BinaryIO]:
    """Redirect standard output and standard error, of native code too, to a temporary file during the block.

    Yields that file, to explain a failure. Lines for which `passes` is true go to standard error afterwards. The redirection
    affects the whole process: no other thread should write to the terminal.
    """
    streams = [stream for stream in (sys.stdout, sys.stderr) if stream is not None]
    with tempfile.TemporaryFile() as sink:
        for stream in streams:
            stream.flush()
        saved = [(descriptor, os.dup(descriptor)) for descriptor in descriptors]
        try:
            for descriptor, _ in saved:
                os.dup2(sink.fileno(), descriptor)
            yield sink
        finally:
            try:
                for stream in streams:
                    stream.flush()
            finally:
                for descriptor, copy in saved:
                    os.dup2(copy, descriptor)
                    os.close(copy)
            sink.seek(0)
            os.write(2, b"".join(filter(passes, sink)))


@contextlib.contextmanager
def kept_back() -> Iterator[TextIO]:
    """A stream to the real standard error, while whatever else is written there is kept back.

    What was kept back comes out when an exception leaves the block, since it may explain it. A process that dies inside still
    shows its Python stack. Nothing is kept back where standard error is not descriptor 2.
    """
    if not _is_descriptor_2(sys.stderr):
        yield sys.stderr
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    failed = False
    sys.stderr.flush()
    with (
        os.fdopen(os.dup(2), "w", 1, sys.stderr.encoding, "replace") as real,
        quiet((2,), passes=lambda _line: failed),
    ):
        faulthandler.enable(real)
        try:
            yield real
        except BaseException:
            failed = True
            raise
        finally:
            real.flush()
            faulthandler.disable()


def _is_descriptor_2(stream: TextIO) -> bool:
    try:
        return stream.fileno() == 2
    except (io.UnsupportedOperation, AttributeError):
        return False
