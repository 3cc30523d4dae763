"""kill −9 at random points of `tiedae encode`: what is left decodes, and going on gives the bytes of an uninterrupted run.

    python benchmarks/kills.py BUNDLE DATA [--points 100] [--seed 0] [--append] [-- --lossless]

Options of `tiedae encode` may follow. Each point is a process of its own, killed once it has written a random number of bytes.
With --append the process writes behind a file of the same samples.
"""

from __future__ import annotations

import contextlib
import io
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tiedae.base.errors import CheckError
from tiedae.cli import main as tiedae
from tiedae.codec.container import read
from tiedae.codec.frames import FileModel
from tiedae.codec.opening import bundle_of
from tiedae.codec.reader import Reader

HEADER_BYTES = 24


class Kills(NamedTuple):
    """How many processes were killed, and of how many different lengths what they left was."""

    points: int
    lengths: int


def kill_encodes(
    bundle: Path, data: Path, folder: Path, *, points: int, seed: int, append: bool = False, options: Sequence[str] = ()
) -> Kills:
    """Kill `points` encodes of `data`, in a folder without files; CheckError where one breaks a promise.

    A process that ends before its point is reached does not count.
    """
    rng = random.Random(seed)
    file = folder / "x.tae"
    command = ["encode", str(bundle), str(data), "-o", str(file), *options, "-q"]
    _done(command)
    before = file.read_bytes() if append else b""
    if append:
        command.append("--append")
        _done(command)
    written, right = file if append else folder / "x.tae.part", file.read_bytes()
    model, lengths, killed = FileModel.of(bundle_of(bundle)), set[int](), 0
    samples = _samples(model, right)
    while killed < points:
        file.write_bytes(before) if append else file.unlink()
        if not _killed(command, written, rng.randrange(len(before), len(right))):
            continue
        killed += 1
        left = (written if written.exists() else file).read_bytes()
        lengths.add(len(left))
        _require(right.startswith(left) and len(left) >= len(before), f"{len(left)} bytes are not the start of the whole file")
        if len(left) > HEADER_BYTES:
            frames = [frame for frame in read(right, "whole").frames if frame.stop <= len(left)]
            _require(list(read(left, "left").frames) == frames, f"{len(left)} bytes: frames that are lost")
            _require(np.array_equal(_samples(model, left), samples[: sum(f.samples for f in frames)]), "other samples")
        if not file.exists() or file.read_bytes() != right:
            _done([*command, "--resume"])
        _require(file.read_bytes() == right, f"after {len(left)} bytes: other bytes than of an uninterrupted run")
    return Kills(points, len(lengths))


def _killed(command: Sequence[str], written: Path, size: int) -> bool:
    """Whether a process was killed as soon as it had written more than `size` bytes; it may have ended before."""
    process = subprocess.Popen([sys.executable, "-m", "tiedae", *command], stdout=subprocess.DEVNULL)
    while process.poll() is None and not (written.exists() and written.stat().st_size > size):
        time.sleep(0.0005)
    process.send_signal(signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


def _done(command: Sequence[str]) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        _require(tiedae(list(command)) == 0, f"tiedae {' '.join(command)}: failed")


def _samples(model: FileModel, data: bytes) -> np.ndarray:
    reader = Reader(model, data, "left")
    return np.concatenate(list(reader.samples())) if reader.contents.frames else np.empty(0)


def _require(holds: bool, text: str) -> None:
    if not holds:
        raise CheckError(text)


def main() -> int:
    import argparse

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--points", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--append", action="store_true")
    parser.add_argument("options", nargs="*", help="of tiedae encode, behind --")
    given = parser.parse_args()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        found = kill_encodes(
            given.bundle,
            given.data,
            Path(folder),
            points=given.points,
            seed=given.seed,
            append=given.append,
            options=given.options,
        )
    print(f"{found}, {time.monotonic() - begun:.0f} s: every whole frame decoded, every file finished to the same bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
