"""Write a page that runs a bundle in a browser: a folder for any static server, with WebAssembly and without a network."""

from .bundle import add_file_kinds, listed_files, say_folder
from .command import Call, Parser

FAILS = ""


def add_arguments(parser: Parser) -> None:
    parser.add_path("bundle", "BUNDLE", "or OUT of a run; it stays as it is")
    add_file_kinds(parser, "lossy")
    parser.add_json("files and bytes")
    parser.add_new_folder("the new folder")


def run(call: Call) -> None:
    from ..apps import PAGES, AppOptions, bundle_app

    made = bundle_app(call.bundle, call.out, "page", AppOptions(files=listed_files(call)), replace=call.force)
    say_folder(call, made, PAGES["page"].summary)
    call.console.say(f"to see it: python -m http.server --directory {call.out}")
