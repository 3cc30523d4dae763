"""Opens a .tflite file of its bytes, as a test made it."""

from pathlib import Path
from tempfile import TemporaryDirectory

from tiedae.runtimes.session import Session
from tiedae.runtimes.table import RUNTIMES


def open_tflite(runtime: str, source: bytes | Path, *, threads: int = 1) -> Session:
    """A file in a runtime of the table."""
    if isinstance(source, Path):
        return RUNTIMES[runtime].open({"": source}, threads=threads)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "file.tflite"
        path.write_bytes(source)
        return RUNTIMES[runtime].open({"": path}, threads=threads)
