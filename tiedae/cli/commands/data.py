"""List the data sets known by name, where they come from, and where they were looked for."""

from .command import Call, Parser

COLUMNS = {"name": "name", "description": "what", "shape": "shape", "licence": "licence", "origin": "from"}
"""The field of a data set that each column of the table shows."""


def add_arguments(parser: Parser) -> None:
    parser.add_json("the data sets, and the folders looked for with the files that each lacks")


def run(call: Call) -> None:
    from tiedae.data.data_sets import DATA_SETS, VARIABLE

    places = {known: known.find() for known in DATA_SETS.values()}
    texts = {known: "ships with tiedae" if known.ships else place or "not found" for known, place in places.items()}
    shown = [(*(getattr(known, key) for key in COLUMNS), text) for known, text in texts.items()]
    call.console.table("Data sets", (*COLUMNS.values(), "found"), shown)
    for known, place in places.items():
        if place is None:
            call.console.say(f"{known.name}: not found; {known.looked()}")
            call.console.say(f"  set {VARIABLE} to the folder that holds {known.folder}/ with {', '.join(known.files)}")
    call.write(
        [
            {key: getattr(known, key) for key in (*COLUMNS, "files")}
            | {"found": place and str(place)}
            | {"looked": [{"folder": str(folder), "missing": known.missing(folder)} for folder in known.places]}
            for known, place in places.items()
        ]
    )
