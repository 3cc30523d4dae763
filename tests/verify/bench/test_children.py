"""What child processes measure, in this process: timings, memory, and the Keras model; and that they serve as programs."""

from __future__ import annotations

import json
import runpy
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tiedae.bundle.bench_results import Way
from tiedae.compress import LayerConfig, ModelConfig, TiedAutoencoder
from tiedae.export import to_tflite
from tiedae.runtimes import child_process
from tiedae.runtimes.native_output import quiet
from tiedae.verify.bench import footprint, latency, openers
from tiedae.verify.bench.latency import Timed, TimedGroup, Timing, interleave


@pytest.mark.parametrize(
    ("module", "answer"), [("bench.footprint", "main"), ("bench.latency", "main"), ("original_process", "answer")]
)
def test_a_module_serves_where_it_runs_as_a_program(module: str, answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[str] = []
    monkeypatch.setattr(child_process, "serve", lambda answer: served.append(answer.__name__))
    monkeypatch.delitem(sys.modules, f"tiedae.verify.{module}", raising=False)
    runpy.run_module(f"tiedae.verify.{module}", run_name="__main__")
    assert served == [answer]


@pytest.fixture
def load(make_program: Callable[..., Any], tmp_path: Path) -> tuple[Timed, ...]:
    """Two signatures of a file, each with four samples."""
    program = make_program(form="split")
    (tmp_path / "toy.tflite").write_bytes(to_tflite(program, io="uint8"))
    np.save(tmp_path / "x.npy", np.arange(80, dtype=np.uint8).reshape(4, 20))
    file, x = str(tmp_path / "toy.tflite"), str(tmp_path / "x.npy")
    return tuple(Timed("toy", "litert-xnnpack", file, signature, x) for signature in ("reconstruct", "encode"))


def sent(plan: Any) -> Any:
    """A plan as a child gets it."""
    return json.loads(json.dumps(plan))


def test_a_group_is_timed_on_its_batch_with_the_threads_of_the_plan(
    load: tuple[Timed, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int, str]] = []
    whole = openers.OPENERS["litert-xnnpack"].load()

    def opened(files: Any, *, threads: int) -> Any:
        session = whole(files, threads=threads)
        bind = session.bind

        def bound(signature: str, x: np.ndarray) -> Any:
            seen.append((threads, len(x), signature))
            return bind(signature, x)

        session.bind = bound
        return session

    monkeypatch.setitem(openers.OPENERS, "litert-xnnpack", openers.Opener(lambda: opened, ""))  # type: ignore[arg-type]
    groups = [TimedGroup(load[:1], 1, Way.INVOKE), TimedGroup(load[1:], 3, Way.CALL)]
    plan = sent({"groups": [asdict(each) for each in groups], "threads": 2, "seconds": 0, "rounds": (3, 3)})
    first, second = latency.main(plan)
    assert seen == [(2, 1, "reconstruct"), (2, 3, "encode")]
    for answer in (first, second):
        assert answer["providers"].keys() == answer["timings"].keys() == {"toy"}
        assert len(answer["timings"]["toy"]["samples"]) == 3 and min(answer["timings"]["toy"]["samples"]) > 0


def test_the_figures_of_a_process_are_from_the_import_to_the_last_signature(
    load: tuple[Timed, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a clock of a millisecond a look, in a process of 1000 bytes that grows by 24."""
    looks, sizes = iter(range(0, 10**9, 10**6)), iter([1000, 1024])
    monkeypatch.setattr(time, "perf_counter_ns", lambda: next(looks))
    monkeypatch.setattr(footprint, "resident", lambda: next(sizes))
    (found,) = footprint.main(sent([asdict(each) for each in load]))
    assert found == {"memory": 24, "startup_ms": 1.0, "import_ms": 1.0}


@pytest.mark.parametrize("missing", [0, 1])
def test_memory_is_none_where_the_system_does_not_report_it(
    load: tuple[Timed, ...], missing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = iter([None if i == missing else 1000 for i in range(2)])
    monkeypatch.setattr(footprint, "resident", lambda: next(sizes))
    (found,) = footprint.main(sent([asdict(load[0])]))
    assert found["memory"] is None and found["startup_ms"] > 0


def counting() -> Iterator[int]:
    yield from range(0, 10**15, 1000)


@pytest.mark.parametrize(("seconds", "rounds"), [(0.0, 21), (1e6, 200)])
def test_a_comparison_has_21_rounds_at_least_and_200_at_most(seconds: float, rounds: int) -> None:
    clock = counting()
    timings = interleave({"only": lambda: None}, seconds=seconds, sample_ns=1, clock=lambda: next(clock))
    assert len(timings["only"].samples) == rounds


def test_the_percentile_is_the_95th_and_times_are_in_microseconds() -> None:
    timing = Timing(np.random.default_rng(0).permutation(101) * 1000.0, 1)
    assert (timing.median_us, timing.p95_us) == (50.0, 95.0)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keras") / "train.safetensors"
    with quiet():
        TiedAutoencoder(ModelConfig((LayerConfig(5, "relu"), LayerConfig(3)), inputs=8)).save(path)
    return path


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, int]]]:
    """What TensorFlow's numbers of threads are set to, which a process that has run a model refuses."""
    import tensorflow as tf

    found: list[tuple[str, int]] = []
    for kind in ("intra", "inter"):
        name = f"set_{kind}_op_parallelism_threads"
        monkeypatch.setattr(tf.config.threading, name, lambda count, kind=kind: found.append((kind, count)))
    openers._loaded.cache_clear()
    yield found
    openers._loaded.cache_clear()


@pytest.mark.parametrize("graph", [False, True])
def test_the_keras_model_gives_its_outputs_as_arrays(archive: Path, threads: list[tuple[str, int]], graph: bool) -> None:
    """By either call, with one thread where none are stated."""
    model, x = TiedAutoencoder.load(archive), np.random.default_rng(0).random((2, 8)).astype(np.float32)
    outputs: Any = model.encode_decode(x)
    code, y = (each.numpy() for each in outputs)
    expected = {"reconstruct": (x, [code, y]), "encode": (x, [code]), "decode": (code, [y])}
    opened = openers.KerasModel(graph, dict.fromkeys(expected, archive))
    assert threads == [("intra", 1), ("inter", 1)]
    for signature, (given, wanted) in expected.items():
        bound: Any = opened.bind(signature, given)
        for got in (bound.invoke(), bound.call()):
            assert [type(each) for each in got] == [np.ndarray] * len(wanted)
            for values, right in zip(got, wanted, strict=True):
                np.testing.assert_allclose(values, right, atol=1e-6)


@pytest.mark.parametrize(
    ("names", "provider"), [((), "CPU"), (("first",), "GPU first"), (("first", "second"), "GPU first"), (("",), "GPU")]
)
def test_the_device_is_the_first_gpu_that_tensorflow_lists(
    archive: Path, threads: list[tuple[str, int]], names: tuple[str, ...], provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow as tf

    details = {f"GPU:{i}": {"device_name": name} if name else {} for i, name in enumerate(names)}
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda _kind: list(details))
    monkeypatch.setattr(tf.config.experimental, "get_device_details", details.__getitem__)
    monkeypatch.setattr(TiedAutoencoder, "load", lambda path: path)
    assert openers.KerasModel(False, {"encode": archive}, threads=3).provider == provider
    assert threads == [("intra", 3), ("inter", 3)]
