"""Runs tests in a forked process that imports a changed source in place of a module's own."""

from __future__ import annotations

import gc
import importlib
import multiprocessing
import os
import resource
import signal
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from multiprocessing.connection import Connection
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import hypothesis
import pytest
from hypothesis import is_hypothesis_test
from mutant_changes import Change

PATIENCE = 10
"""The limit of wall time, as a multiple of that of processor time: other work may have the processor."""
MEMORY, WRITTEN = 8 << 30, 1 << 30
"""Limits in bytes of a process's memory and of a file that it writes: a change may take any amount."""
SETTINGS = "_hypothesis_internal_use_settings"
"""Where hypothesis keeps what `@settings` states."""
FORK = multiprocessing.get_context("fork")
STEADY: dict[str, Any] = {"derandomize": True, "deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
"""Settings of properties: the same examples each time, and a busy machine is no failure."""


def quiet_options(folder: Path) -> list[str]:
    """Options of pytest in a process that tries changes; `folder`: where tests write."""
    return ["-q", "-n0", "-pno:cacheprovider", "--tb=native", "--assert=plain", f"--basetemp={folder}"]


@dataclass(frozen=True)
class Outcome:
    """`survived`, `killed` by the `test` that failed, or out of `time`."""

    name: str
    test: str = ""


class Tests:
    """Tests of one suite, those that kill most in their time first. The first run says which packages to import ahead."""

    def __init__(self, root: Path, tests: tuple[str, ...], seconds: int, folder: Path) -> None:
        self.root, self.tests, self.seconds, self.folder = root, tests, seconds, folder
        self.durations: dict[str, float] = {}
        self.kills: Counter[str] = Counter()

    def run(
        self,
        change: Change | None,
        examples: int | None,
        *,
        properties: bool = False,
        only: Collection[str] = (),
        seconds: int | None = None,
    ) -> Outcome:
        """The outcome of the tests, or of `properties` alone, with a change: `examples` of each, or as many as it has. `only`:
        the ids of those that run, else all; `seconds`: their limit, else the suite's."""
        limit = self.seconds if seconds is None else seconds
        arguments = (change, examples, properties, frozenset(only), limit)
        said = answer_of(self._child, arguments, limit, died=(1, "", {}, []))
        if said is None:
            return Outcome("time")
        code, test, durations, modules = said
        if code:
            self.kills[test] += 1
            return Outcome("killed", test)
        if not self.durations:
            self.warm(modules)
        self.durations |= durations
        return Outcome("survived")

    def warm(self, modules: list[str]) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for name in modules:
                with suppress(Exception):
                    importlib.import_module(name)
        gc.collect()
        gc.freeze()

    def _child(
        self,
        writer: Connection,
        change: Change | None,
        examples: int | None,
        properties: bool,
        only: frozenset[str],
        seconds: int,
    ) -> None:
        self.confine(seconds)
        phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
        most = hypothesis.settings().max_examples if examples is None else examples
        hypothesis.settings.register_profile("mutants", **STEADY, phases=phases, max_examples=most)
        watch = _Watch(self, examples, properties, only)
        tests = sorted({name.partition("::")[0] for name in only}) or self.tests
        options = ["-x", *quiet_options(self.folder), "--hypothesis-profile=mutants"]
        with _imported(self.root, change):
            code = int(pytest.main([*options, *tests], plugins=[watch]))
        if properties and code == pytest.ExitCode.NO_TESTS_COLLECTED:
            code = 0
        others = [] if self.durations else self.others()
        writer.send((code, watch.failed, watch.durations, others))
        os._exit(0)

    def confine(self, seconds: int, *, again: bool = True) -> None:
        """A group of its own without outputs, within limits, in the root; `again`: import what a change may reach again."""
        os.setpgid(0, 0)
        for stream in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_FSIZE, (WRITTEN, WRITTEN))
        os.chdir(self.root)
        for name in self._own() if again else ():
            del sys.modules[name]

    def others(self) -> list[str]:
        return sorted(set(sys.modules) - self._own())

    def _own(self) -> set[str]:
        """Modules that a change may reach, and tests: each process imports them itself. A package of others may be named
        `tests`, too, and would take the place of ours."""
        return {name for name, module in sys.modules.items() if name.partition(".")[0] == "tests" or self._lies_here(module)}

    def _lies_here(self, module: ModuleType) -> bool:
        paths = [getattr(module, "__file__", None), *getattr(module, "__path__", [])]
        return any(path and path.startswith(f"{self.root}{os.sep}") and "site-packages" not in path for path in paths)


def answer_of(child: Callable[..., None], arguments: tuple[Any, ...], seconds: int, *, died: Any) -> Any:
    """What a forked process, child(writer, *arguments), sends: `died` where it ends without, None past its limit. What it
    started ends with it."""
    reader, writer = FORK.Pipe(duplex=False)
    process = FORK.Process(target=child, args=(writer, *arguments))
    process.start()
    writer.close()
    try:
        return reader.recv() if reader.poll(PATIENCE * seconds) else None
    except EOFError:
        process.join()
        return None if process.exitcode in (-signal.SIGXCPU, -signal.SIGPROF) else died
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid or 0, signal.SIGKILL)
        process.join()
        reader.close()


class _Watch:
    """A plugin of pytest: order, examples of properties that state a number, durations, the first test that fails."""

    def __init__(self, tests: Tests, examples: int | None, properties: bool, only: frozenset[str]) -> None:
        self.tests, self.examples, self.properties, self.only = tests, examples, properties, only
        self.failed, self.durations = "", {}

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        durations, kills = self.tests.durations, self.tests.kills
        items.sort(key=lambda item: -(kills[item.nodeid] + 0.1) / (durations.get(item.nodeid, 0) + 0.01))
        functions = {item: _function(item) for item in items}
        wanted = [
            item
            for item in items
            if (not self.only or item.nodeid in self.only) and (not self.properties or is_hypothesis_test(functions[item]))
        ]
        config.hook.pytest_deselected(items=[item for item in items if item not in wanted])
        items[:] = wanted
        for function in functions.values():
            stated = getattr(function, SETTINGS, None)
            if stated is not None and self.examples is not None:
                fewer = min(self.examples, stated.max_examples)
                setattr(function, SETTINGS, hypothesis.settings(stated, max_examples=fewer))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.durations[report.nodeid] = self.durations.get(report.nodeid, 0) + report.duration
        if report.failed and not self.failed:
            self.failed = report.nodeid


def _function(item: pytest.Item) -> object:
    function = getattr(item, "obj", None)
    return getattr(function, "__func__", function)


@contextmanager
def _imported(root: Path, change: Change | None) -> Iterator[None]:
    """The source of a change is what an import of its file compiles."""
    original = SourceFileLoader.get_code

    def get_code(self: SourceFileLoader, fullname: str) -> CodeType | None:
        if change is None or Path(self.path).resolve() != root / change.file:
            return original(self, fullname)
        return compile(change.source, self.path, "exec", dont_inherit=True)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SourceFileLoader, "get_code", get_code)
        yield
