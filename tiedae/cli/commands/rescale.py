"""Write a bundle again with fresh tables for .tae files, and codes of a coarser scale: fewer bits, without training."""

from .command import Call, Parser, require_checks, require_for, say_checks

FAILS = "a check of the new bundle failed (the bundle is written all the same)"


def add_arguments(parser: Parser) -> None:
    parser.add_bundle()
    parser.add_value("--data", "DATA", "the training data: a file, a folder of images or a known name", required=True)
    text = "factor on the scale of the codes: above 1, fewer bits and more error (default: 1, tables alone)"
    scale = parser.add_mutually_exclusive_group()
    scale.add_argument("--factor", metavar="FACTOR", help=text, type=float, default=1.0)
    text = "the coarsest factor that keeps this PRDN in %%, PSNR in dB or R² on each of four parts of the validation samples"
    scale.add_argument("--fidelity", metavar="VALUE", help=text, type=float)
    text = "of samples, each with tables of its own: fewer bits (default: as many as BUNDLE has; 1: none)"
    parser.add_value("--classes", "N", text, type=int)
    parser.add_json("bits per sample and the metrics")
    parser.add_new_folder("the new bundle")


def run(call: Call) -> None:
    require_for(call.locate_bundle(), None)
    from tiedae.pipeline.rescaling import rescale
    from tiedae.report.summary import HEADER, table_rows

    done = rescale(
        call.bundle,
        call.data,
        call.out,
        factor=call.factor,
        fidelity=call.fidelity,
        classes=call.classes,
        replace=call.force,
        announce=call.console.note,
    )
    call.console.table(done.metrics.name, HEADER, table_rows(done.metrics))
    say_checks(done.metrics, call.console)
    before = "" if done.bits_before is None else f", before {done.bits_before:.4g}"
    classes = f", {done.classes} classes" if done.classes > 1 else ""
    call.console.say(f"codes: {done.bits:.4g} bits per sample{before}{classes}, of {done.samples:,} test samples")
    call.console.say(f"bundle: {call.out}")
    call.write(done)
    require_checks(call.out, done.metrics)
