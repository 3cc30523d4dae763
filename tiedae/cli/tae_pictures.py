"""Pictures from `.tae` files of their patches, as .png."""

from __future__ import annotations

from pathlib import Path

from tiedae.base.errors import InputError
from tiedae.base.files import write_atomic
from tiedae.codec.frames import FileModel
from tiedae.codec.opening import bundle_of
from tiedae.codec.reader import Reader
from tiedae.data.image_files import png_of
from tiedae.report.console import Progress

from .coding import steps
from .tae_files import Decompressed, mapped


def decode_pictures(
    path: Path, source: Path, out: Path, *, replace: bool, progress: Progress
) -> tuple[Decompressed, list[Path]]:
    """Write the pictures of a .tae file, of several each as OUT-1.png and so on; patches of damaged frames are black.

    Raises what `Reader` and `png_of` raise; InputError for a file of other samples and where a picture is there already,
    CheckError where no picture can be put together.
    """
    model = FileModel.of(bundle_of(path))
    with mapped(source) as data:
        reader = Reader(model, data, source)
        count, report = len(reader.sizes), steps(progress, "decode")
        if not count:
            raise InputError(f"{source}: holds samples, not pictures in patches; must be decoded to .npy")
        width = len(str(count))
        paths = [out.with_name(f"{out.stem}-{i:0{width}}{out.suffix}") for i in range(1, count + 1)] if count > 1 else [out]
        for each in paths if not replace else ():
            if each.exists():
                raise InputError(f"{each}: is there already, must be a new file; --force replaces it")
        done = 0
        for done, (each, picture) in enumerate(zip(paths, reader.pictures(), strict=False), 1):
            write_atomic(each, png_of(picture, each), replace=replace)
            report(done, count)
        if not done:
            reader.require_whole()
        return Decompressed(0, 0, reader.contents.header.sample_bytes, tuple(reader.problems), done), paths[:done]
