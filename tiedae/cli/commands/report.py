"""Render report.html and MODEL_CARD.md of a bundle again, from its metrics."""

from .command import Call, Parser


def add_arguments(parser: Parser) -> None:
    parser.add_bundle()


def run(call: Call) -> None:
    from tiedae.report.rendering import render_bundle

    for path in render_bundle(call.locate_bundle()):
        call.console.say(str(path))
