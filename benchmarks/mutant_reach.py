"""Which tests run which functions of a folder, recorded once: a change of a function is tried on the tests that run it."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import hypothesis
import pytest
from mutant_changes import Change, definition_lines
from mutant_process import FORK, STEADY, Tests, quiet_options
from tiedae.compress.errors import CheckError
from tiedae.compress.files import write_atomic

SECONDS = 1200
"""Of processor time for the tests of one file while they are recorded."""

Places = Mapping[str, frozenset[int]]
"""The first lines of functions that a test runs, by file."""


@dataclass(frozen=True)
class Reach:
    """What each test runs, its duration in seconds, the `modules` of others that tests import, and what runs on import."""

    tests: Mapping[str, Places]
    durations: Mapping[str, float]
    modules: tuple[str, ...]
    imported: Places

    def of(self, root: Path, change: Change) -> list[str]:
        """The tests that run the changed function. Where it runs on import, or the change is of no function: those that run
        anything in its file, and those that run nothing of the folder but imports, which look at what modules define."""
        file = str(change.file)
        if self.on_import(root, change):
            return [name for name, places in self.tests.items() if file in places or self.imports(places)] or list(self.tests)
        lines = set(definition_lines((root / file).read_text("utf-8"), change))
        return [name for name, places in self.tests.items() if lines & places.get(file, frozenset())]

    def imports(self, places: Places) -> bool:
        """Whether a test runs nothing but what runs on import."""
        return all(lines <= self.imported.get(file, frozenset()) for file, lines in places.items())

    def on_import(self, root: Path, change: Change) -> bool:
        """Whether the change is of no function, or of one that runs when modules are imported."""
        source = (root / change.file).read_text("utf-8")
        lines = definition_lines(source, change)
        whole = len(lines) == len(source.splitlines())
        return whole or bool(set(lines) & self.imported.get(str(change.file), frozenset()))


def reach_of(root: Path, files: Sequence[Path], test_files: Sequence[Path], state: Path, temporary: Path) -> Reach:
    """The tests of files, recorded where a source or the file of tests has changed since `state` was written.

    Raises CheckError if a test fails.
    """
    known = json.loads(state.read_text("utf-8")) if state.exists() else {}
    sources = _digest(root, [*files, Path("tests/conftest.py")])
    for number, file in enumerate(test_files, 1):
        version = f"{sources} {_digest(root, [file])}"
        if known.get(str(file), {}).get("version") == version:
            continue
        print(f"recording {file}, {number} of {len(test_files)}", file=sys.stderr, flush=True)
        known[str(file)] = {"version": version, **_record(root, files, file, temporary)}
        write_atomic(state, json.dumps(known).encode())
    entries = [known[str(file)] for file in test_files]
    tests = {name: _lines([places]) for entry in entries for name, places in entry["tests"].items()}
    durations = {name: seconds for entry in entries for name, seconds in entry["durations"].items()}
    modules = tuple(sorted({name for entry in entries for name in entry["modules"]}))
    return Reach(tests, durations, modules, _lines([entry["imported"] for entry in entries]))


def _lines(recorded: Sequence[Mapping[str, Sequence[int]]]) -> Places:
    files = {file for places in recorded for file in places}
    return {file: frozenset().union(*(places.get(file, ()) for places in recorded)) for file in files}


def _digest(root: Path, files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update((root / file).read_bytes())
    return digest.hexdigest()[:16]


def _record(root: Path, files: Sequence[Path], test_file: Path, temporary: Path) -> dict[str, Any]:
    """What the tests of one file run, in a forked process."""
    reader, writer = FORK.Pipe(duplex=False)
    recorder = _Recording(root, (str(test_file),), SECONDS, temporary)
    process = FORK.Process(target=recorder.send, args=(writer, {str(root / file): str(file) for file in files}))
    process.start()
    writer.close()
    try:
        code, failed, recorded = reader.recv()
    except EOFError as error:
        raise CheckError(f"{test_file}: its tests ended without an answer, or take more than {SECONDS} s") from error
    finally:
        process.join()
        reader.close()
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        raise CheckError(f"{test_file}: its tests fail without a change: {failed}")
    return recorded


class _Recording(Tests):
    """Tests that are recorded."""

    def send(self, writer: Any, names: Mapping[str, str]) -> None:
        self.confine(self.seconds)
        plugin = _Recorder(names)
        hypothesis.settings.register_profile("recorded", **STEADY)
        options = [*quiet_options(self.folder), "--hypothesis-profile=recorded", "-pno:unraisableexception"]
        with plugin.profiling():
            code = int(pytest.main([*options, *self.tests], plugins=[plugin]))
        writer.send((code, plugin.failed, plugin.recorded(self.others())))
        os._exit(0)


@dataclass(eq=False)
class _Recorder:
    """A plugin of pytest: the functions that each test runs, and the fixtures that it asks for."""

    names: Mapping[str, str]
    codes: dict[CodeType, tuple[str, int] | None] = field(default_factory=dict)
    ran: set[tuple[str, int]] = field(default_factory=set)
    imported: set[tuple[str, int]] = field(default_factory=set)
    fixtures: dict[str, set[tuple[str, int]]] = field(default_factory=dict)
    tests: dict[str, set[tuple[str, int]]] = field(default_factory=dict)
    asked: dict[str, tuple[str, ...]] = field(default_factory=dict)
    durations: dict[str, float] = field(default_factory=dict)
    failed: str = ""

    def profiling(self) -> AbstractContextManager[None]:
        return _profiled(self._called)

    def _called(self, frame: FrameType, event: str, _argument: object) -> None:
        if event != "call":
            return
        code = frame.f_code
        if code not in self.codes:
            name = self.names.get(os.path.realpath(code.co_filename))
            self.codes[code] = None if name is None or code.co_name == "<module>" else (name, code.co_firstlineno)
        if place := self.codes[code]:
            self.ran.add(place)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        if not self.tests:
            self.imported = self.ran
        self.ran = set()
        try:
            return (yield)
        finally:
            self.tests[item.nodeid] = self.ran
            self.asked[item.nodeid] = tuple(getattr(item, "fixturenames", ()))

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any, request: pytest.FixtureRequest) -> Iterator[None]:
        """What a shared fixture runs belongs to each test that asks for it."""
        outer, self.ran = self.ran, set()
        try:
            return (yield)
        finally:
            self.fixtures.setdefault(fixturedef.argname, set()).update(self.ran)
            self.ran |= outer

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.durations[report.nodeid] = self.durations.get(report.nodeid, 0) + report.duration
        if report.failed and not self.failed:
            self.failed = report.nodeid

    def recorded(self, modules: Sequence[str]) -> dict[str, Any]:
        tests = {
            name: _by_file(ran.union(*(self.fixtures.get(each, ()) for each in self.asked[name])))
            for name, ran in self.tests.items()
        }
        imported = _by_file(self.imported)
        return {"tests": tests, "durations": self.durations, "modules": list(modules), "imported": imported}


def _by_file(ran: Iterable[tuple[str, int]]) -> dict[str, list[int]]:
    places: dict[str, list[int]] = {}
    for file, line in sorted(ran):
        places.setdefault(file, []).append(line)
    return places


@contextmanager
def _profiled(called: Callable[[FrameType, str, object], None]) -> Iterator[None]:
    """Calls a function at each call of a Python function, in every thread."""
    threading.setprofile(called)
    sys.setprofile(called)
    try:
        yield
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # pyright: ignore[reportArgumentType]
