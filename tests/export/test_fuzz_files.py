"""Damaged files by the thousand: each is read, or refused in one line; nothing else, and at once.

TIEDAE_FUZZ_CASES=10000 runs more of the same: `pytest tests/export/test_fuzz_files.py -s` then prints how they ended.
"""

import os
import struct
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, EncodeError, Message
from tiedae.compress.errors import FormatError
from tiedae.dedupe.inspection import inspect_file
from tiedae.export.onnx.writer import to_onnx, to_onnx_pair
from tiedae.export.tflite.reader import read_tflite
from tiedae.export.tflite.writer import to_tflite
from tiedae.report.inspection import render

from ..conftest import build_program
from .onnx.test_reader import nested_model
from .test_duplicates import stock_files
from .tflite.test_writer import split

pytestmark = pytest.mark.ci

CASES = int(os.environ.get("TIEDAE_FUZZ_CASES", "600"))
SEED = int(os.environ.get("TIEDAE_FUZZ_SEED", "0"))
LIMIT = 1.0
"""Seconds of processor time for one file."""
LENGTHS = [0, 1, 2, 4, 127, 128, 255, 2**15, 2**16 - 1, 2**16, 2**24, 2**30, 2**31 - 1, 2**31, 2**32 - 1]


def flip_bits(data: bytearray, rng: np.random.Generator) -> None:
    for place in rng.integers(0, len(data), rng.integers(1, 5)):
        data[place] ^= 1 << int(rng.integers(8))


def overwrite(data: bytearray, rng: np.random.Generator) -> None:
    start, length = _run(data, rng)
    data[start : start + length] = (
        rng.bytes(length) if rng.random() < 0.5 else bytes([int(rng.choice([0, 127, 128, 255]))]) * length
    )


def change_a_length(data: bytearray, rng: np.random.Generator) -> None:
    """A 32-bit field, or a varint of protobuf, as it could stand before a vector."""
    place, value = int(rng.integers(0, len(data))), int(rng.choice(LENGTHS))
    if rng.random() < 0.5:
        place &= ~3
        data[place : place + 4] = value.to_bytes(4, "little")
    else:
        data[place : place + 1] = varint(value)


def remove(data: bytearray, rng: np.random.Generator) -> None:
    start, length = _run(data, rng)
    del data[start : start + length]


def repeat(data: bytearray, rng: np.random.Generator) -> None:
    start, length = _run(data, rng)
    place = int(rng.integers(0, len(data)))
    data[place:place] = data[start : start + length]


def cut_off(data: bytearray, rng: np.random.Generator) -> None:
    del data[int(rng.integers(0, len(data))) :]


def _run(data: bytearray, rng: np.random.Generator) -> tuple[int, int]:
    return int(rng.integers(0, len(data))), int(2 ** rng.uniform(0, 9))


def varint(value: int) -> bytes:
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


# Damage to the bytes ends in the parser mostly; damage to the parsed model and written again reaches what reads it.


def change_a_message(data: bytearray, rng: np.random.Generator) -> None:
    """One field of one message of an ONNX file, wherever it lies."""
    try:
        model = onnx.load_from_string(bytes(data))
    except DecodeError:
        return
    messages = list(messages_in(model))
    message = messages[int(rng.integers(len(messages)))]
    field = message.DESCRIPTOR.fields[int(rng.integers(len(message.DESCRIPTOR.fields)))]
    parts = [other.SerializeToString() for other in messages if other.DESCRIPTOR is field.message_type][:20]
    try:
        change_a_field(message, field, [part for part in parts if len(part) < LARGEST_PART], rng)
        data[:] = model.SerializeToString()
    except (TypeError, ValueError, DecodeError, EncodeError):
        return  # a value that the field cannot have


LARGEST_PART = 1 << 12
VALUES = [0, 1, -1, 2, 7, 16, 255, 2**31 - 1, -(2**31), 2**62, 1.5, float("nan"), "", "x", "../x", b"\1\2\3\4", b""]


def change_a_field(message: Message, field: FieldDescriptor, parts: list[bytes], rng: np.random.Generator) -> None:
    """Remove it, set it, or, with what other messages of its kind hold, add to it."""
    values, part = getattr(message, field.name), parts[int(rng.integers(len(parts)))] if parts else b""
    made: Any = VALUES[int(rng.integers(len(VALUES)))]
    if field.is_repeated:
        if len(values) and rng.random() < 0.6:
            del values[int(rng.integers(len(values)))]
        elif field.message_type:
            values.add().MergeFromString(part)
        else:
            values.extend([made] * int(rng.choice([1, 2, 40])))
    elif rng.random() < 0.3:
        message.ClearField(field.name)
    elif field.message_type:
        values.MergeFromString(part)
    else:
        setattr(message, field.name, made)


def messages_in(message: Message) -> Iterator[Message]:
    yield message
    for field, value in message.ListFields():
        if field.message_type:
            for each in value if field.is_repeated else [value]:
                yield from messages_in(each)


def change_a_table(data: bytearray, rng: np.random.Generator) -> None:
    """One field of one table of a .tflite file, wherever it lies."""
    try:
        read_tflite(bytes(data))
        model = schema.ModelT.InitFromPackedBuf(bytes(data), 0)
    except (FormatError, ValueError, TypeError, struct.error):
        return
    tables = list(tables_in(model))
    for table in [tables[int(i)] for i in rng.integers(0, len(tables), 3)]:
        name = str(rng.choice(list(vars(table))))
        before = getattr(table, name)
        numbers = [0, 1, 2, 3, 17, 18, 120, 127, -1, 2**31 - 1, -(2**31), 2**32 - 1, 2**40]
        if isinstance(before, list) and before:
            kept = [before[int(i)] for i in rng.integers(0, len(before), rng.integers(0, 2 * len(before)))]
            setattr(table, name, kept)
        elif isinstance(before, np.ndarray):
            setattr(table, name, rng.choice(before, rng.integers(0, 2 * len(before) + 1)) if len(before) else before)
        elif isinstance(before, int):
            setattr(table, name, numbers[int(rng.integers(len(numbers)))])
        elif isinstance(before, bytes):
            setattr(table, name, [b"", b"\xff\xfe", b"two\nlines"][int(rng.integers(3))])
    builder = flatbuffers.Builder()
    try:
        builder.Finish(model.Pack(builder), b"TFL3")
    except (TypeError, ValueError, AttributeError, struct.error):
        return  # a value that the field cannot have
    data[:] = builder.Output()


def tables_in(table: Any) -> Iterator[Any]:
    yield table
    for value in vars(table).values():
        for each in value if isinstance(value, list) else [value]:
            if hasattr(each, "Pack"):
                yield from tables_in(each)


STRUCTURED = {".onnx": change_a_message, ".tflite": change_a_table}
MUTATIONS: Mapping[str, Callable[[bytearray, np.random.Generator], None]] = {
    each.__name__: each for each in (flip_bits, overwrite, change_a_length, remove, repeat, cut_off)
}


@pytest.fixture(scope="module")
def subjects(tmp_path_factory) -> dict[str, bytes]:
    """Files by name: ours, the stock tools', and one with everything in it that ONNX has."""
    program = build_program((12, 6, 3))
    encoder, _, kernels = to_onnx_pair(program, kernels_file="kernels.bin")
    return {
        "ours.tflite": to_tflite(split(widths=(12, 6, 3), granularity="unit")),
        "ours float.tflite": to_tflite(split(widths=(12, 6, 3), quantized=False)),
        "ours.onnx": to_onnx(program),
        "external.onnx": encoder,
        "kernels.bin": kernels,
        "nested.onnx": nested_model(),
        **{f"stock {name}": data for name, data in stock_files().items()},
    }


def mutated(subjects: Mapping[str, bytes], cases: int, seed: int) -> Iterator[tuple[str, str, bytes]]:
    """(file name, what was done to it, damaged data), one to three changes each."""
    names, rng = [name for name in subjects if not name.endswith(".bin")], np.random.default_rng(seed)
    for case in range(cases):
        name, data = names[case % len(names)], bytearray(subjects[names[case % len(names)]])
        damage = [MUTATIONS[kind] for kind in rng.choice(list(MUTATIONS), rng.integers(1, 3)).tolist()]
        if rng.random() < 0.6:
            damage = [STRUCTURED[Path(name).suffix]] * int(rng.integers(1, 4))
        for change in damage:
            if data:
                change(data, rng)
        yield name, f"case {case} of seed {seed}: " + ", ".join(change.__name__ for change in damage), bytes(data)


def test_mutated_files_are_read_or_refused(subjects, tmp_path):
    (tmp_path / "kernels.bin").write_bytes(subjects["kernels.bin"])
    ends: Counter[str] = Counter()
    wrong, slowest = [], (0.0, "")
    for name, what, data in mutated(subjects, CASES, SEED):
        path = tmp_path / name
        path.write_bytes(data)
        start = time.process_time()
        try:
            render(inspect_file(path))
            ends["read"] += 1
        except FormatError as error:
            ends["refused"] += 1
            if "\n" in str(error):
                wrong.append(f"{name}, {what}: an error of several lines: {error}")
        except Exception:  # noqa: BLE001 (what this test looks for)
            wrong.append(f"{name}, {what}\n{traceback.format_exc(limit=-4)}")
        slowest = max(slowest, (time.process_time() - start, f"{name}, {what}"))
    print(f"{CASES} cases: {dict(ends)}, {len(wrong)} wrong; slowest {slowest[0]:.3f} s ({slowest[1]})")
    assert not wrong, f"{len(wrong)} of {CASES} cases:\n" + "\n".join(wrong[:20])
    assert slowest[0] < LIMIT, slowest
