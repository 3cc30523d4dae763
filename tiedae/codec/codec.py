"""A bundle as a codec: samples in the data's own unit of measure to codes and back, in one runtime, without TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np

from tiedae.base.errors import DataError, InputError
from tiedae.bundle.bundle import Bundle
from tiedae.config.sample_spec import SampleSpec
from tiedae.data.windows import PicturePatches, Result, Stream, Windows
from tiedae.program.drift import squared_errors
from tiedae.program.program import Tensor
from tiedae.program.scoring import Detector

from .backends import BATCH, Backend, ProgramBackend
from .detector import integer_errors
from .frames import FileModel
from .header import SAMPLES_PER_FRAME, Data, promise
from .reader import Reader, last_whole, require_frames
from .streams import StreamDecoder, StreamEncoder


@dataclass(frozen=True)
class Codec:
    """Encodes and decodes samples in the data's own unit of measure and dtype; `load` opens one.

    A method takes one sample of `spec.shape`, or a batch [n, *shape] or [n, inputs] of any size, and returns the same form. It
    raises DataError, in one line, for samples of another shape, dtype or columns, and for NaN or infinity. Several threads may
    use one codec.
    """

    name: str
    spec: SampleSpec
    code: Tensor
    backend: Backend = field(repr=False)
    bundle: Bundle | None = field(default=None, repr=False)

    @property
    def runtime(self) -> str:
        """The runtime that runs the model: litert-xnnpack, ort-cpu, …, or program."""
        return self.backend.runtime

    def encode(self, x: Any) -> np.ndarray:
        """Samples → codes, uint8 [n, *shape of `code`], or one for one sample; float32 where the model is float."""
        flat, single = self.spec.flatten(x)
        codes = self._codes(flat)
        return codes[0] if single else codes

    def decode(self, codes: Any) -> np.ndarray:
        """Codes, as `encode` gives them, → samples in the data's shape, unit and dtype; DataError for other codes."""
        codes = np.asarray(codes)
        single = codes.shape == self.code.shape
        codes = codes[None] if single else codes
        self.code.require(codes, "codes")
        decode, samples = self.backend.decode, self.backend.samples
        y = self._map(codes, lambda part: samples(decode(part)), (self.spec.inputs,), self.spec.dtype)
        return self.spec.shaped(y, single)

    def reconstruct(self, x: Any) -> np.ndarray:
        """Samples → the samples that their codes decode to, in the data's shape, unit and dtype."""
        flat, single = self.spec.flatten(x)
        y = self._reconstructions(flat)
        return y[0] if single else y

    @property
    def detector(self) -> Detector | None:
        """That of an anomaly bundle."""
        return None if self.bundle is None else self.bundle.manifest.detector

    def score(self, x: Any, *, axis: Literal[0, 1] | None = 1) -> Any:
        """How badly samples are reconstructed, float64, in scaled values, in which the columns of a table compare.

        `axis` as in numpy: 1, a value per sample, [n] or a float for one sample; 0, the mean error of each feature, [inputs];
        None, the mean of these. The error of a value is its square, or what the detector of an anomaly bundle takes, see
        `errors`; a sample's score is their mean (of `max` the largest). It is taken against `x` as given, before `x` is
        quantized and clipped. With a detector a sample with NaN or infinity has the score NaN, and means
        over samples leave it out.

        Raises InputError for another axis, DataError for a mean over no samples.
        """
        if axis not in (0, 1, None):
            raise InputError(f"axis: got {axis!r}, must be 1 (per sample), 0 (per feature) or None (all values)")
        flat, single = self.spec.flatten(x)
        if axis == 1:
            scores = self._scores(flat)
            return float(scores[0]) if single else scores
        total, count = np.zeros(self.spec.inputs), 0
        for _, part in self._batches(flat, finite=self.detector is None):
            errors = self._errors(part)
            whole = ~np.isnan(errors).any(axis=1)
            total += errors[whole].sum(axis=0)
            count += int(whole.sum())
        if not count:
            raise DataError("samples: got none without NaN or infinity, must be one or more for a mean over samples")
        per_feature = total / count
        return float(np.mean(per_feature)) if axis is None else per_feature

    def errors(self, x: Any) -> np.ndarray:
        """The error of each value, float64 [n, inputs], or [inputs] for one sample; of a record's windows, of each time step.

        Squared, in scaled values; absolute, or squared and divided by the feature's training error squared, where that is the
        score of an anomaly bundle. A sample with NaN or infinity has NaN throughout there.
        """
        flat, single = self.spec.flatten(x)
        errors = self._map(flat, self._errors, (self.spec.inputs,), "float64", finite=self.detector is None)
        return errors[0] if single else errors

    def is_anomaly(self, x: Any) -> Any:
        """Whether samples score above the threshold, or hold NaN or infinity: bool [n], or a bool for one sample.

        Raises InputError for a bundle without a detector.
        """
        flat, single = self.spec.flatten(x)
        flags = self._flags(flat)
        return bool(flags[0]) if single else flags

    @property
    def threshold(self) -> float | None:
        """The largest score of a sample that is no anomaly, in the runtime that runs; None without a detector."""
        return None if self.detector is None else self.detector.threshold(self.backend.layout)

    def require_detector(self, what: str) -> Detector:
        """The detector; InputError, starting with `what`, where there is none."""
        if self.detector is None:
            right = 'must be one of a recipe with [task] kind = "anomaly"'
            raise InputError(f"{what}: bundle {self.name} has no threshold of anomalies, {right}; `score` gives its errors")
        return self.detector

    def compress(
        self, x: Any, *, samples_per_frame: int | None = None, max_error: float | None = None, lossless: bool = False
    ) -> bytes:
        """The content of a .tae file: one sample, or a batch, entropy coded in frames that each decode alone.

        `samples_per_frame`: by default `[codec] frame` of the bundle's recipe.
        `max_error` gives each value back within this, in the data's unit of measure; `lossless`, of integer data, as it is.

        Raises InputError where the bundle has no tables, and for `lossless` of floats; DataError where `max_error` is too small
        for the samples; CheckError where the runtime's codes are not the program's.
        """
        return self.encoder(samples_per_frame=samples_per_frame, max_error=max_error, lossless=lossless).whole(x)

    def decompress(self, data: bytes, *, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Samples start…stop − 1 of a .tae file, [n, *shape], the same in any runtime: what the program gives for their codes.

        Raises FormatError for a file of another model or tables, InputError for a range it does not have, CheckError where a
        frame is damaged; a `Reader` also gives the samples of the others.
        """
        reader = Reader(self.file_model, data, "data")
        samples = np.concatenate(list(reader.samples(start, stop)))
        reader.require_whole()
        return samples

    def compress_record(
        self,
        record: Any,
        *,
        samples_per_frame: int | None = None,
        max_error: float | None = None,
        lossless: bool = False,
    ) -> bytes:
        """The content of a .tae file of a record, [n] or [n, channels]: its windows, and its rest, padded to a window.

        Raises as `compress`; DataError for a record without a time step.
        """
        encoder = self.encoder(samples_per_frame=samples_per_frame, max_error=max_error, lossless=lossless)
        windows = Windows.of(record, self.spec)
        return b"".join([*encoder.push(windows[:], windows.ends), *encoder.finish()])

    def decompress_record(self, data: bytes) -> np.ndarray:
        """The time steps of a .tae file of records, one behind the other, [n] or [n, channels]; raises as `decompress`."""
        reader = Reader(self.file_model, data, "data")
        steps = np.concatenate(list(reader.time_steps()))
        reader.require_whole()
        return steps

    def compress_picture(
        self,
        picture: Any,
        *,
        samples_per_frame: int | None = None,
        max_error: float | None = None,
        lossless: bool = False,
    ) -> bytes:
        """The content of a .tae file of a picture, [h, w] or [h, w, channels], in patches: those at the right and at the bottom
        repeat its last column and row.

        Raises as `compress`; DataError for another shape, and a model whose samples are no square patches.
        """
        encoder = self.encoder(samples_per_frame=samples_per_frame, max_error=max_error, lossless=lossless)
        patches = PicturePatches.of(picture, self.spec)
        return b"".join([*encoder.push(patches[:], patches.ends), *encoder.finish()])

    def decompress_pictures(self, data: bytes) -> list[np.ndarray]:
        """The pictures of a .tae file, [h, w] or [h, w, channels] each; none of other samples. Raises as `decompress`."""
        reader = Reader(self.file_model, data, "data")
        pictures = list(reader.pictures()) if reader.sizes else []
        reader.require_whole()
        return pictures

    def encoder(
        self,
        *,
        samples_per_frame: int | None = None,
        max_error: float | None = None,
        lossless: bool = False,
        frame_only: bool = False,
    ) -> StreamEncoder:
        """Samples in pieces to a .tae file in pieces, as `compress`; `frame_only`: to frames alone, as for radio packets."""
        kind, bound = promise(max_error, lossless)
        return StreamEncoder(
            self.file_model,
            self.backend,
            samples_per_frame=self.samples_per_frame if samples_per_frame is None else samples_per_frame,
            kind=kind,
            bound=bound,
            frame_only=frame_only,
        )

    def decoder(
        self,
        *,
        samples_per_frame: int | None = None,
        max_error: float | None = None,
        lossless: bool = False,
        frame_only: bool = False,
    ) -> StreamDecoder:
        """The inverse of `encoder`, with the same arguments; a file states its own."""
        kind, bound = promise(max_error, lossless)
        return StreamDecoder(
            self.file_model,
            samples_per_frame=self.samples_per_frame if samples_per_frame is None else samples_per_frame,
            kind=kind,
            bound=bound,
            frame_only=frame_only,
        )

    def appender(self, data: Data) -> StreamEncoder:
        """Samples in pieces to the bytes that go behind a whole .tae file, of its kind and frames; `finish` gives a new index.

        Raises FormatError for a file of another model or tables, CheckError for one that is damaged or cut off.
        """
        reader = Reader(self.file_model, data, "data")
        reader.require_whole()
        header, whole = reader.contents.header, last_whole(data, reader.contents)
        require_frames(data, reader.contents.frames, header, "data")
        return StreamEncoder(
            self.file_model,
            self.backend,
            samples_per_frame=header.samples_per_frame,
            kind=header.kind,
            bound=header.bound,
            after=whole,
        )

    def stream(
        self, result: Result = "code", *, hop: int | None = None, max_error: float | None = None, lossless: bool = False
    ) -> Stream[Any]:
        """Time steps of a record, as they come, to a result of each window, equal to that of whole arrays; see `Stream`.

        `hop`: steps from a window to the next; without it, `[data] stride` of the bundle's recipe, else, and for frames, a
        window. A `frame` holds one window, as `max_error` or `lossless` say; `decoder` with `samples_per_frame=1` and
        `frame_only` gives it back.

        Raises InputError for samples that are no windows, a hop of 0 or above the window, an unknown result, and one that the
        bundle cannot give.
        """
        if result not in get_args(Result):
            raise InputError(f"stream: got {result!r}, must be one of {', '.join(get_args(Result))}")
        if result != "frame" and (max_error is not None or lossless):
            raise InputError(f"stream: max_error and lossless are of frames, got a stream of {result}")
        if result == "anomaly":
            self.require_detector("stream")
        results: Callable[[Any], Any]
        if result == "frame":
            results = self.encoder(samples_per_frame=1, max_error=max_error, lossless=lossless, frame_only=True).push
        else:
            of_samples = {"code": self._codes, "reconstruction": self._reconstructions, "score": self._scores}
            results = of_samples.get(result, self._flags)
        stride = 0 if self.bundle is None or result == "frame" else self.bundle.manifest.recipe.data.stride
        return Stream(self.spec, (stride or self.spec.shape[0]) if hop is None else hop, results)

    @property
    def samples_per_frame(self) -> int:
        """Samples of a frame of .tae files, unless a call says otherwise."""
        return SAMPLES_PER_FRAME if self.bundle is None else self.bundle.manifest.recipe.codec.frame

    @cached_property
    def file_model(self) -> FileModel:
        """The program and the tables that .tae files rest on; InputError for a model archive, and a bundle without tables."""
        if self.bundle is None:
            raise InputError(f"{self.name}: a model archive has no frequency tables; .tae files need a bundle")
        return FileModel.of(self.bundle, self.backend if isinstance(self.backend, ProgramBackend) else None)

    def _codes(self, x: np.ndarray) -> np.ndarray:
        """Samples [n, inputs] → codes [n, *shape]."""
        return self.code.shaped(self._map(x, self.backend.encode, (self.code.size,), self.code.dtype))

    def _reconstructions(self, x: np.ndarray) -> np.ndarray:
        """Samples [n, inputs] → samples [n, *shape]."""
        reconstruct, samples = self.backend.reconstruct, self.backend.samples
        y = self._map(x, lambda part: samples(reconstruct(part)[1]), (self.spec.inputs,), self.spec.dtype)
        return self.spec.shaped(y, False)

    def _scores(self, x: np.ndarray) -> np.ndarray:
        """Samples [n, inputs] → scores [n]."""

        def scores(part: np.ndarray) -> np.ndarray:
            if self.detector is None:
                return self._errors(part).mean(axis=1)
            scoring = self.detector.scoring
            errors, missing = integer_errors(scoring, self.backend, part)
            return np.where(missing, np.nan, scoring.totals(errors) * scoring.factor)

        return self._map(x, scores, (), "float64", finite=self.detector is None)

    def _flags(self, x: np.ndarray) -> np.ndarray:
        """Samples [n, inputs] → whether each is an anomaly, bool [n]."""
        detector = self.require_detector("is_anomaly")
        limit = getattr(detector.thresholds, self.backend.layout)

        def flags(part: np.ndarray) -> np.ndarray:
            errors, missing = integer_errors(detector.scoring, self.backend, part)
            return (detector.scoring.totals(errors) > limit) | missing

        return self._map(x, flags, (), "bool", finite=False)

    def _errors(self, x: np.ndarray) -> np.ndarray:
        if self.detector is None:
            return squared_errors(self.spec.scaling, x, self.backend.scaled_values(self.backend.reconstruct(x)[1]))
        scoring = self.detector.scoring
        errors, missing = integer_errors(scoring, self.backend, x)
        return np.where(missing[:, None], np.nan, scoring.terms(errors) * scoring.value_factor)

    def _map(
        self,
        x: np.ndarray,
        function: Callable[[np.ndarray], np.ndarray],
        size: tuple[int, ...],
        dtype: str,
        *,
        finite: bool = True,
    ) -> np.ndarray:
        """The outputs of `function`, [n, *size], for batches of samples or codes [n, …]; if `finite`, DataError for others."""
        whole = np.empty((len(x), *size), dtype)
        for start, part in self._batches(x, finite=finite):
            whole[start : start + len(part)] = function(part)
        return whole

    def _batches(self, x: np.ndarray, *, finite: bool = True) -> Iterator[tuple[int, np.ndarray]]:
        """(index of the first, samples or codes), contiguous; if `finite`, DataError where they are not."""
        for start in range(0, len(x), BATCH):
            part = np.ascontiguousarray(x[start : start + BATCH])
            if finite:
                self.spec.require_finite(part, start)
            yield start, part
