"""What native libraries print while they start stays out of the user's terminal.

TensorFlow, LiteRT and ONNX Runtime write to file descriptor 2 before any of their own switches can be set.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import TextIO


@contextlib.contextmanager
def kept_back(shown: bool = False) -> Iterator[TextIO]:
    """A stream to the real standard error, while whatever else is written there is kept back.

    What was kept back comes out when an exception leaves the block, since it may explain it. A process that dies inside still
    shows its Python stack. Nothing is kept back where it is to be `shown`, or where standard error is not descriptor 2.
    """
    if shown or not _is_descriptor_2(sys.stderr):
        yield sys.stderr
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    with os.fdopen(os.dup(2), "w", 1, sys.stderr.encoding, "replace") as real, tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        faulthandler.enable(real)
        try:
            yield real
        except BaseException:
            sys.stderr.flush()
            kept.seek(0)
            real.write(kept.read().decode(errors="replace"))
            raise
        finally:
            sys.stderr.flush()
            real.flush()
            faulthandler.disable()
            os.dup2(real.fileno(), 2)


def _is_descriptor_2(stream: TextIO) -> bool:
    try:
        return stream.fileno() == 2
    except (io.UnsupportedOperation, AttributeError):
        return False
