"""Fuzzing guided by coverage, with atheris (`pip install atheris`, on Linux), whose own options follow; see `__main__`.

Half of atheris' changes are those of the target's own mutations. A law that is broken ends the run and leaves the input in the
current folder. Memory is limited for all inputs together, and nothing that a reader does to other files is prevented: what the
guided run adds to its corpus is held to all laws by the usual run, after `--harvest`.
"""

from __future__ import annotations

import contextlib
import importlib
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from tiedae.base.errors import TiedaeError

from .harness import Inputs, folder_of
from .targets import Target


def guided(name: str, target: Target, corpus: Path, options: Sequence[str]) -> NoReturn:
    """Run atheris on a target from a corpus, to which its whole files are added."""
    atheris: Any = importlib.import_module("atheris")
    inputs = Inputs.of(name, target)
    corpus.mkdir(parents=True, exist_ok=True)
    for i, data in enumerate(inputs.starts):
        (corpus / f"seed-{i}").write_bytes(data)

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        rng = random.Random(seed)
        if rng.randrange(2):
            return atheris.Mutate(data, most)
        return rng.choice(target.mutations)(data, rng, inputs.starts)[:most]

    with folder_of(target) as folder:
        path = folder / target.file

        def one(data: bytes) -> None:
            path.write_bytes(data)
            with contextlib.suppress(TiedaeError):
                target.read(path)

        for function in _functions():
            atheris.instrument_func(function)
        arguments = [sys.argv[0], str(corpus), f"-max_len={target.longest}", "-rss_limit_mb=4096", "-timeout=20", *options]
        atheris.Setup(arguments, one, custom_mutator=mutate)
        atheris.Fuzz()
    sys.exit(0)


def _functions() -> Iterator[Any]:
    """The functions of our modules, those of classes included."""
    for name, module in list(sys.modules.items()):
        if not name.startswith("tiedae."):
            continue
        for holder in (module, *(each for each in vars(module).values() if isinstance(each, type))):
            for value in list(vars(holder).values()):
                function = getattr(value, "__func__", value)
                if getattr(function, "__module__", None) == name and hasattr(function, "__code__"):
                    yield function
