"""List the data sets known by name, and where they come from."""

from .command import Call, Parser

FAILS = ""
COLUMNS = {"name": "name", "description": "what", "shape": "shape", "licence": "licence", "origin": "from"}
"""The field of a data set that each column of the table shows."""


def add_arguments(parser: Parser) -> None:
    parser.add_json("the data sets")


def run(call: Call) -> None:
    from ..sources import DATA_SETS, VARIABLE

    places = {known: known.find() for known in DATA_SETS.values()}
    texts = {k: "ships with tiedae" if k.ships else place or f"not found; set {VARIABLE}" for k, place in places.items()}
    shown = [(*(getattr(known, key) for key in COLUMNS), text) for known, text in texts.items()]
    call.console.table("Data sets", (*COLUMNS.values(), "found"), shown)
    rows = [{key: getattr(k, key) for key in (*COLUMNS, "files")} | {"found": p and str(p)} for k, p in places.items()]
    call.write(rows)
