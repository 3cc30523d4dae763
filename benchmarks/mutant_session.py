"""Tries changes of functions in a pytest session that has collected its tests: a forked process gets the changed code.

What a module computes when it is imported must not change; see `patched`.
"""

from __future__ import annotations

import gc
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import hypothesis
import pytest
from hypothesis import is_hypothesis_test
from mutant_changes import Change
from mutant_process import SETTINGS, STEADY, Outcome, Tests, answer_of, quiet_options
from tiedae.compress.errors import CheckError

FILLING = 600
"""Of processor time for the tests that fill what others share."""
TIMES = 5
"""The limit of a test in seconds of processor time: the suite's, and this multiple of what the test takes without a change."""
FUNCTION = 0x3
"""The flags of the code of a function: CO_OPTIMIZED and CO_NEWLOCALS."""
PHASES = (hypothesis.Phase.explicit, hypothesis.Phase.generate)

Places = frozenset[tuple[str, int]]


class PatchError(Exception):
    """A change that must be imported."""


def run_session(tests: Tests, try_changes: Callable[[Session], None]) -> None:
    """Collect the tests, and call a function with their session."""
    options = [*quiet_options(tests.folder), "-pno:unraisableexception"]
    plugin = _Loop(tests, try_changes)
    code = pytest.main([*options, *tests.tests], plugins=[plugin])
    if plugin.error is not None:
        raise plugin.error
    if not plugin.ran:
        raise PatchError(f"the tests were not collected: pytest ended with {code}")


@dataclass(eq=False)
class _Loop:
    tests: Tests
    try_changes: Callable[[Session], None]
    ran: bool = False
    error: BaseException | None = None

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self.ran = not session.testsfailed
        if self.ran:
            gc.unfreeze()
            functions = _functions_of(self.tests.root)
            gc.collect()
            gc.freeze()
            try:
                self.try_changes(Session(self.tests, {item.nodeid: item for item in session.items}, functions))
            except BaseException as error:  # noqa: BLE001 - raised again by run_session, beyond pytest
                self.error = error
        return True


@dataclass(frozen=True)
class Session:
    """Collected tests by id, and the functions that exist by file, qualified name and first line."""

    tests: Tests
    items: dict[str, pytest.Item]
    functions: dict[tuple[str, str, int], list[FunctionType]]

    def run(
        self, change: Change | None, examples: int | None, *, properties: bool = False, only: Sequence[str], seconds: int
    ) -> Outcome:
        """As `Tests.run`. Raises PatchError if the change must be imported."""
        path = None if change is None else self.tests.root / change.file
        codes = {} if change is None or path is None else patched(path, path.read_text("utf-8"), change.source)
        if any(key not in self.functions and "<locals>" not in key[1] for key in codes):
            raise PatchError("no test has imported the function yet")
        chosen = [self.items[name] for name in only if name in self.items]
        chosen = [item for item in chosen if not properties or is_hypothesis_test(_function(item))]
        kills, durations = self.tests.kills, self.tests.durations
        chosen.sort(key=lambda item: -(kills[item.nodeid] + 0.1) / (durations.get(item.nodeid, 0) + 0.01))
        if not chosen:
            return Outcome("survived")
        said = answer_of(self._child, (codes, chosen, examples, seconds), seconds, died="")
        if said is None:
            return Outcome("time")
        if said is True:
            return Outcome("survived")
        kills[said] += 1
        return Outcome("killed", said)

    def fill(self) -> None:
        """Let tests without a change fill what forked processes share: each fixture that asks for `make_once` in one test."""
        asking = {
            name: item.nodeid
            for item in sorted(self.items.values(), key=lambda item: -self.tests.durations.get(item.nodeid, 0))
            for name, found in item._fixtureinfo.name2fixturedefs.items()  # type: ignore[attr-defined]
            if "make_once" in found[-1].argnames
        }
        if not asking:
            return
        patient = replace(self, tests=Tests(self.tests.root, self.tests.tests, FILLING, self.tests.folder))
        outcome = patient.run(None, None, only=sorted(set(asking.values())), seconds=FILLING)
        if outcome.name != "survived":
            raise CheckError(f"{outcome.test or 'a test'} fails without a change")

    def _child(
        self, writer: Connection, codes: dict[Any, CodeType], chosen: list[pytest.Item], examples: int | None, seconds: int
    ) -> None:
        self.tests.confine(seconds, again=False)
        for key, code in codes.items():
            for function in self.functions.get(key, ()):
                function.__code__ = code
        _examples(chosen, examples)
        watch = _Failure()
        chosen[0].config.pluginmanager.register(watch)
        for item, following in zip(chosen, [*chosen[1:], None], strict=True):
            alone = self.tests.seconds + TIMES * self.tests.durations.get(item.nodeid, 0)
            signal.setitimer(signal.ITIMER_PROF, alone)  # SIGPROF ends the process
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if watch.failed:
                break
        writer.send(watch.failed or True)
        os._exit(0)


def _examples(chosen: Sequence[pytest.Item], examples: int | None) -> None:
    most = hypothesis.settings().max_examples if examples is None else examples
    fixed = {**STEADY, "phases": PHASES, "database": None}
    hypothesis.settings.register_profile("mutants", max_examples=most, **fixed)
    hypothesis.settings.load_profile("mutants")
    for function in {_function(item) for item in chosen}:
        stated = getattr(function, SETTINGS, None)
        if stated is not None:
            fewer = stated.max_examples if examples is None else min(examples, stated.max_examples)
            setattr(function, SETTINGS, hypothesis.settings(stated, max_examples=fewer, **fixed))


class _Failure:
    failed = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.failed:
            self.failed = report.nodeid


def patched(path: Path, old: str, new: str) -> dict[tuple[str, str, int], CodeType]:
    """The functions that differ, by file, qualified name and first line. Raises PatchError if code outside of them does."""
    before, after = (compile(source, str(path), "exec", dont_inherit=True) for source in (old, new))
    if _outside(before) != _outside(after):
        raise PatchError("it changes what the module computes when it is imported")
    former, codes = dict(_functions(before)), {}
    if len(former) < len(list(_functions(before))):
        twice = Counter(key for key, _ in _functions(before))
        former = {key: code for key, code in former.items() if twice[key] == 1 or "<lambda>" not in key[0]}
    for key, code in _functions(after):
        if key not in former:
            raise PatchError("it changes where functions are, or one of two of a line")
        if former[key] != code:
            if former[key].co_freevars != code.co_freevars:
                raise PatchError("it changes what a function closes over")
            codes[str(path), *key] = code
    return codes


def _functions_of(root: Path) -> dict[tuple[str, str, int], list[FunctionType]]:
    functions: dict[tuple[str, str, int], list[FunctionType]] = {}
    for each in gc.get_objects():
        if isinstance(each, FunctionType) and os.path.realpath(each.__code__.co_filename).startswith(f"{root}{os.sep}"):
            code = each.__code__
            key = (os.path.realpath(code.co_filename), code.co_qualname, code.co_firstlineno)
            functions.setdefault(key, []).append(each)
    return functions


def _functions(code: CodeType) -> Iterator[tuple[tuple[str, int], CodeType]]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            if constant.co_flags & FUNCTION == FUNCTION:
                yield (constant.co_qualname, constant.co_firstlineno), constant
            yield from _functions(constant)


def _outside(code: CodeType) -> tuple[object, ...]:
    """What the code of a module or of a class is, without the functions in it."""
    constants = [
        (constant.co_qualname if constant.co_flags & FUNCTION == FUNCTION else _outside(constant))
        if isinstance(constant, CodeType)
        else (type(constant), constant)
        for constant in code.co_consts
    ]
    return code.co_code, code.co_names, tuple(map(repr, constants))


def _function(item: pytest.Item) -> Any:
    function = getattr(item, "obj", None)
    return getattr(function, "__func__", function)
