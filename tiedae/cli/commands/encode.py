"""Encode the samples of a source with a bundle: a compressed .tae file, or codes as .npy."""

from pathlib import Path

from .command import STDOUT, Call, Parser

FAILS = "codes of the runtime are not those of the program, or the file to append to is damaged"


def add_arguments(parser: Parser) -> None:
    parser.add_bundle()
    parser.add_path(
        "data",
        "DATA",
        "a file, a folder of images or records, or a known name, as in a recipe; or a picture",
        type=str,
    )
    parser.add_file(
        "-o",
        "--out",
        text="where to: samples.tae, - for it on standard output, or codes.npy, uint8 [samples, units]",
        required=True,
    )
    parser.add_flag("--append", "of .tae: add the samples to FILE, where it is there already")
    parser.add_flag("--resume", "of .tae: continue an encode or append of this DATA that was interrupted")
    parser.add_value(
        "--frame", "SAMPLES", "of .tae: samples of a frame, which decodes alone (default: of the recipe)", type=int
    )
    promise = parser.add_mutually_exclusive_group()
    promise.add_argument("--lossless", action="store_true", help="of .tae: every sample comes back as it is; integer data")
    promise.add_argument(
        "--max-error", metavar="E", type=float, help="of .tae: each value comes back within E, in the data's unit of measure"
    )
    parser.add_value("--runtime", "NAME", "auto (default), program, or a runtime of `tiedae verify`", default="auto")
    parser.add_json("what was written")


def run(call: Call) -> None:
    from tiedae.base.errors import InputError
    from tiedae.codec.header import SUFFIX

    call.require_suffix(SUFFIX, ".npy")
    if call.out == STDOUT:
        to_standard_output(call)
    elif call.out.suffix.lower() == SUFFIX:
        to_file(call, call.out)
    elif call.append or call.resume or call.lossless or call.frame is not None or call.max_error is not None:
        right = f"must end in {SUFFIX} for --append, --resume, --frame, --lossless and --max-error"
        raise InputError(f"--out {call.out}: {right}")
    else:
        to_codes(call)


def to_standard_output(call: Call) -> None:
    """Write a .tae file to standard output, whole or not at all."""
    import shutil
    import tempfile

    from tiedae.base.errors import InputError
    from tiedae.codec.header import SUFFIX

    if call.append or call.resume:
        raise InputError(f"--out -: is standard output, must be a file for --{'append' if call.append else 'resume'}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"samples{SUFFIX}"
        to_file(call, path)
        with path.open("rb") as file:
            shutil.copyfileobj(file, call.stdout.buffer)
        call.stdout.buffer.flush()


def to_file(call: Call, path: Path) -> None:
    """Write a .tae file, and say what it holds."""
    from tiedae.base.numbers import counted
    from tiedae.program.drift import drift_text

    from ..tae_files import encode as encode_file
    from ..tae_files import quality_text

    options = {"runtime": call.runtime, "replace": call.force, "progress": call.console.progress}
    options |= {"max_error": call.max_error, "lossless": call.lossless, "append": call.append, "resume": call.resume}
    done = encode_file(call.bundle, call.data, path, samples_per_frame=call.frame, **options)
    size = f"{done.bytes:,} bytes, {done.ratio:.3g} x smaller, {done.bits_per_value:.3g} bits per value"
    behind = f" behind {done.appended_to:,}" if done.appended_to else ""
    of_records = f" of {done.time_steps:,} time steps" if done.time_steps else ""
    if done.pictures:
        of_records = f" of {counted(done.pictures, 'picture')}"
        size += f", {done.bits_per_pixel:.3g} bits per pixel"
    call.console.say(f"{call.out}: {done.samples:,} samples{of_records}{behind}, {size}, by {done.runtime}")
    if done.kind != "lossy":
        call.console.say(f"every value is {f'within {done.bound:g}' if done.bound else 'exact'}")
    some = f" of {done.measured:,} samples" if done.measured < done.samples else ""
    if done.quality is not None:
        call.console.say(f"quality{some}: {quality_text(done)}")
    call.console.say(f"drift{some}: {drift_text(done.drift)}")
    call.write(done)


def to_codes(call: Call) -> None:
    """Write codes as .npy; --resume starts again."""
    from tiedae.codec.header import SUFFIX

    from ..coding import encode

    options = {"runtime": call.runtime, "replace": call.force, "progress": call.console.progress}
    coded = encode(call.bundle, call.data, call.out, **options)
    each = f"{coded.sample_bytes:,} bytes to {coded.code_bytes:,} each, {coded.ratio:.3g} x"
    call.console.say(f"{call.out}: {coded.samples:,} samples, {each}, by {coded.runtime}")
    if coded.left_out:
        right = f"a {SUFFIX} file holds them"
        call.console.warn(f"{call.data}: {coded.left_out:,} time steps at the end of records are less than a window; {right}")
    call.write(coded)
