"""Decode a .tae file, or codes, with a bundle: samples or records as .npy, pictures as .png, in the data's unit."""

from .command import Call, Parser

FAILS = "the .tae file is damaged or cut off (the samples of its whole frames are written all the same)"


def add_arguments(parser: Parser) -> None:
    parser.add_bundle()
    parser.add_path("codes", "FILE", "a .tae file or codes as .npy, as `tiedae encode` writes them")
    parser.add_file(
        "-o",
        "--out",
        text="where to: samples.npy, of a .tae file of records record.npy, of pictures picture.png",
        required=True,
    )
    parser.add_value("--samples", "START:STOP", "of .tae: these samples alone, such as 100:200")
    parser.add_flag("--windows", "of a .tae file of records: their windows, not their time steps")
    parser.add_value("--runtime", "NAME", "of codes: auto (default), program, or a runtime of `tiedae verify`", default="auto")
    parser.add_json("what was written")


def run(call: Call) -> None:
    from tiedae.base.errors import InputError
    from tiedae.codec.header import SUFFIX
    from tiedae.data.image_files import PNG

    options = {"replace": call.force, "progress": call.console.progress}
    call.require_suffix(".npy", PNG)
    if call.out.suffix.lower() == PNG:
        to_pictures(call)
        return
    if call.codes.suffix == SUFFIX:
        from tiedae.codec.reader import require_whole

        from ..tae_files import decode as decode_file

        if call.runtime != "auto":
            raise InputError(f"--runtime {call.runtime}: is for codes; the samples of a {SUFFIX} file are the program's")
        start, stop = _range(call.samples)
        done = decode_file(call.bundle, call.codes, call.out, start=start, stop=stop, windows=call.windows, **options)
        what = f"{done.samples:,} samples of {done.sample_bytes:,} bytes" if done.samples else f"{done.time_steps:,} time steps"
        call.console.say(f"{call.out}: {what}, by the program")
        call.write(done)
        require_whole(done.problems, call.codes)
        return
    if call.samples is not None or call.windows:
        option = "--windows" if call.windows else f"--samples {call.samples}"
        raise InputError(f"{option}: is for {SUFFIX} files, got {call.codes}")
    from ..coding import decode

    coded = decode(call.bundle, call.codes, call.out, runtime=call.runtime, **options)
    call.console.say(f"{call.out}: {coded.samples:,} samples of {coded.sample_bytes:,} bytes, by {coded.runtime}")
    call.write(coded)


def to_pictures(call: Call) -> None:
    """Write the pictures of a .tae file as .png."""
    from tiedae.base.errors import InputError
    from tiedae.codec.header import SUFFIX
    from tiedae.codec.reader import require_whole

    from ..tae_pictures import decode_pictures

    if call.codes.suffix != SUFFIX:
        raise InputError(f"--out {call.out}: is of {SUFFIX} files of pictures, got {call.codes}")
    for option, given in {"--samples": call.samples, "--windows": call.windows}.items():
        if given:
            raise InputError(f"{option}: is for .npy, got --out {call.out}")
    done, paths = decode_pictures(call.bundle, call.codes, call.out, replace=call.force, progress=call.console.progress)
    what = f"{paths[0]}: 1 picture" if len(paths) == 1 else f"{paths[0]} to {paths[-1].name}: {len(paths):,} pictures"
    call.console.say(f"{what}, by the program")
    call.write(done)
    require_whole(done.problems, call.codes)


def _range(text: str | None) -> tuple[int, int | None]:
    """START and STOP of `START:STOP`, each of which may be left out."""
    from tiedae.base.errors import InputError

    if text is None:
        return 0, None
    start, colon, stop = text.partition(":")
    if not colon or not all(part.isdecimal() or not part for part in (start, stop)):
        raise InputError(f"--samples {text}: must be START:STOP, such as 100:200")
    return int(start or 0), int(stop) if stop else None
