"""Streams: what time steps give in pieces of any size is what whole arrays give, and an error leaves a stream as it was."""

from __future__ import annotations

import dataclasses
import zipfile
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

import tiedae as ta
from tiedae.base.errors import DataError, InputError
from tiedae.codec.codec import Codec
from tiedae.codec.frames import FileModel
from tiedae.config.sample_spec import SampleSpec
from tiedae.data.windows import Result, Stream
from tiedae.program.scoring import Detector

from ..export.c.models import Made, samples_of
from ..export.c.stream_library import RECORDS, cut, windows_of

EXAMPLE = Path(__file__).parents[2] / "examples" / "bundle.zip"
STEPS = 120


@dataclasses.dataclass(frozen=True)
class MadeCodec(Codec):
    """The codec of a model with a detector and tables that no bundle holds."""

    made: Made | None = None

    @property
    def detector(self) -> Detector | None:
        return self.made and self.made.detector

    @property
    def file_model(self) -> FileModel:  # type: ignore[override]
        assert self.made is not None
        return self.made.model


def codec_of(made: Made) -> MadeCodec:
    backend = made.model.program
    return MadeCodec(made.program.name, backend.spec, made.program.tensors["code"], backend, made=made)


@pytest.fixture(scope="module")
def codecs() -> dict[str, MadeCodec]:
    return {case.name: codec_of(case.made()) for case in RECORDS}


@pytest.fixture(scope="module")
def heartbeat(tmp_path_factory: pytest.TempPathFactory) -> Codec:
    """The example's bundle: windows of 64 int16 values, trained with `stride = 4`."""
    folder = tmp_path_factory.mktemp("example")
    zipfile.ZipFile(EXAMPLE).extractall(folder)
    return ta.load(folder, runtime="program")


def steps_of(spec: SampleSpec, count: int = STEPS) -> np.ndarray:
    """[count, channels], or [count], as the models of `RECORDS` know them and some that they do not."""
    return samples_of(spec, -(-count // spec.shape[0])).reshape(-1, *spec.shape[1:])[:count]


def whole(codec: Codec, result: Result, windows: np.ndarray) -> Any:
    """What windows, [n, *shape], give all at once."""
    if result == "frame":
        return codec.encoder(samples_per_frame=1, frame_only=True).push(windows)
    methods = {"code": "encode", "reconstruction": "reconstruct", "score": "score", "anomaly": "is_anomaly"}
    return getattr(codec, methods[result])(windows)


def pushed(stream: Stream[Any], pieces: list[np.ndarray], result: Result) -> Any:
    parts = [stream.push(piece) for piece in pieces]
    return [frame for part in parts for frame in part] if result == "frame" else np.concatenate(parts)


def same(found: Any, right: Any) -> None:
    if isinstance(right, list):
        assert found == right
        return
    assert (found.dtype, found.shape) == (right.dtype, right.shape)
    np.testing.assert_array_equal(found, right)


@settings(max_examples=60)
@given(
    st.sampled_from([(case.name, case.shape[0]) for case in RECORDS]).flatmap(
        lambda case: st.tuples(
            st.just(case[0]), st.integers(1, case[1]), st.lists(st.integers(0, 3 * case[1]) | st.just(2 * case[1]), max_size=20)
        )
    ),
    st.sampled_from(get_args(Result)),
)
def test_pieces_of_any_size_give_what_whole_arrays_do(
    codecs: dict[str, MadeCodec], case: tuple[str, int, list[int]], result: Result
) -> None:
    name, hop, sizes = case
    codec = codecs[name]
    window, steps = codec.spec.shape[0], steps_of(codec.spec)
    pieces = cut(steps, sizes)
    found = pushed(codec.stream(result, hop=hop), pieces, result)
    same(found, whole(codec, result, windows_of(steps, window, hop)))


@pytest.mark.parametrize("name", [case.name for case in RECORDS])
def test_a_step_by_itself_is_a_piece(codecs: dict[str, MadeCodec], name: str) -> None:
    codec = codecs[name]
    steps = steps_of(codec.spec)
    stream = codec.stream()
    assert (stream.window, stream.hop) == (codec.spec.shape[0],) * 2, "without a bundle"
    parts = [stream.push(step) for step in steps]
    assert {part.shape[1:] for part in parts} == {codec.code.shape} and parts[0].shape[0] == 0
    same(np.concatenate(parts), whole(codec, "code", windows_of(steps, stream.window, stream.hop)))


def test_the_recipe_says_how_far_windows_lie_apart(heartbeat: Codec) -> None:
    x = np.random.default_rng(0).normal(1000, 90, 300).astype(np.int16)
    stream = heartbeat.stream("score")
    assert (stream.window, stream.hop) == (64, 4)
    assert heartbeat.stream("frame").hop == 64, "frames that overlap would hold each step again"
    same(stream.push(x), heartbeat.score(windows_of(x, 64, 4)))


@pytest.mark.parametrize("options", [{"lossless": True}, {"max_error": 5}], ids=str)
def test_frames_keep_their_promise(heartbeat: Codec, options: dict[str, Any]) -> None:
    """A decoder of frames gives the record back."""
    x = np.random.default_rng(0).normal(1000, 90, 64 * 5).astype(np.int16)
    frames = pushed(heartbeat.stream("frame", hop=64, **options), cut(x, [1, 100, 64]), "frame")
    decoder = heartbeat.decoder(samples_per_frame=1, frame_only=True, **options)
    back = np.concatenate([decoder.push(frame) for frame in frames]).ravel()
    assert len(frames) == 5 and np.abs(back.astype(int) - x).max() <= options.get("max_error", 0)


def wrong(codec: Codec) -> dict[str, tuple[Any, str]]:
    """Steps that are refused, and why."""
    spec, right = codec.spec, "must be {}, in the unit of measure of the training data"
    steps = steps_of(spec)
    shaped = "[n, 6], or one step [6]" if spec.shape[1:] else "[n], or one number"
    cases: dict[str, tuple[Any, str]] = {
        "dtype": (steps.astype(np.float64), f"steps: got float64, {right.format(spec.dtype)}"),
        "integers": (steps.astype(np.int64), f"steps: got int64, {right.format(spec.dtype)}"),
        "channels": (np.zeros((9, 5), spec.dtype), f"steps: got shape [9, 5], must be {shaped}"),
        "axes": (np.zeros((9, 6, 2), spec.dtype), f"steps: got shape [9, 6, 2], must be {shaped}"),
    }
    if spec.dtype == "float32":
        for value in (np.nan, np.inf, -np.inf):
            bad = steps.copy()
            bad[7, 4] = value
            cases[str(value)] = bad, f"steps: channel 4 of step 7 is {value}, must be finite in float32"
    return cases


@pytest.mark.parametrize("name", [case.name for case in RECORDS])
def test_an_error_leaves_the_stream_as_it_was(codecs: dict[str, MadeCodec], name: str) -> None:
    codec = codecs[name]
    steps = steps_of(codec.spec)
    stream = codec.stream(hop=3)
    parts = [stream.push(steps[:50])]
    for bad, text in wrong(codec).values():
        with pytest.raises(DataError) as error:
            stream.push(bad)
        assert str(error.value) == text
        parts.append(stream.push(steps[:0]))
    parts.append(stream.push(steps[50:]))
    same(np.concatenate(parts), whole(codec, "code", windows_of(steps, stream.window, 3)))


def test_nan_in_one_channel_has_its_step(codecs: dict[str, MadeCodec]) -> None:
    """Also for a score, where a detector would take it of a whole array."""
    codec = codecs["floats"]
    single = dataclasses.replace(codec, spec=replace(codec.spec, shape=(30,)))
    with pytest.raises(DataError, match=r"^steps: step 2 is nan, must be finite in float32$"):
        single.stream("score").push(np.array([1, 2, np.nan, 4], np.float32))


@pytest.mark.parametrize("hop", [0, -1, 5, 2.5, "2", float("nan")])
def test_a_hop_that_skips_steps_is_refused(codecs: dict[str, MadeCodec], hop: Any) -> None:
    with pytest.raises(InputError) as error:
        codecs["axes"].stream(hop=hop)
    assert str(error.value) == f"hop: got {hop!r}, must be 1 to 4 time steps, the window"


@pytest.mark.parametrize("kind", ["image", "table"])
def test_only_a_record_has_time_steps(codecs: dict[str, MadeCodec], kind: Any) -> None:
    other = dataclasses.replace(codecs["channel"], spec=replace(codecs["channel"].spec, kind=kind))
    with pytest.raises(
        InputError, match=f"^stream: samples are of kind {kind}, must be windows of a record, which have time steps"
    ):
        other.stream()


def test_what_a_bundle_cannot_give_is_refused_at_once(codecs: dict[str, MadeCodec], heartbeat: Codec) -> None:
    with pytest.raises(InputError, match="stream: bundle heartbeat has no threshold of anomalies"):
        heartbeat.stream("anomaly")
    with pytest.raises(InputError, match="stream: got 'codes', must be one of code, reconstruction, score, anomaly, frame"):
        heartbeat.stream("codes")  # type: ignore[arg-type]
    for options in ({"lossless": True}, {"max_error": 2.0}):
        with pytest.raises(InputError, match="stream: max_error and lossless are of frames, got a stream of score"):
            heartbeat.stream("score", **options)
    with pytest.raises(InputError, match="lossless: the data are float32"):
        codecs["floats"].stream("frame", lossless=True)
    with pytest.raises(InputError, match=r"a model archive has no frequency tables; \.tae files need a bundle"):
        dataclasses.replace(heartbeat, bundle=None).stream("frame")
