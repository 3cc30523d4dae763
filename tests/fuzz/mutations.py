"""Changes of an input: of any bytes, of texts by their tokens, and of JSON by its values.

A mutation is a function of any bytes, a generator of random numbers and the other inputs. It gives other bytes.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Sequence
from typing import Any

Mutation = Callable[[bytes, random.Random, Sequence[bytes]], bytes]
NUMBERS = (0, 1, 2, 3, 7, 8, 16, 127, 128, 255, 256, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 1 << 24, 1 << 30, 0x7FFFFFFF, 0x80000000)
NUMBERS += (0xFFFFFFFE, 0xFFFFFFFF, 1 << 32, 1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)


def blind(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """One change at a random place: a bit, a number, bytes removed, added, repeated or of another input, or all behind it."""
    changed = bytearray(data)
    at, size = rng.randrange(len(data) + 1), 1 << rng.randrange(7)
    match rng.randrange(9):
        case 0 if at < len(data):
            changed[at] ^= 1 << rng.randrange(8)
        case 1:
            changed[at : at + 1] = bytes([rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))])
        case 2 | 3:
            return number(data, rng, others)
        case 4:
            del changed[at : at + size]
        case 5:
            changed[at:at] = rng.randbytes(size)
        case 6:
            other = rng.randrange(len(data) + 1)
            changed[at:at] = changed[other : other + size]
        case 7:
            other = rng.choice(others)
            changed[at:] = other[rng.randrange(len(other) + 1) :]
        case _:
            del changed[at:]
    return bytes(changed)


def number(data: bytes, rng: random.Random, _: Sequence[bytes]) -> bytes:
    """A number of 1, 2, 4 or 8 bytes in either order, replaced by an extreme one, or by itself and a little."""
    width, order = rng.choice((1, 2, 4, 4, 8)), rng.choice(("little", "little", "big"))
    at = rng.randrange(len(data) + 1)
    at = at // width * width if rng.randrange(2) else at
    before = int.from_bytes(data[at : at + width], order)
    value = rng.choice(NUMBERS) if rng.randrange(3) else before + rng.randrange(-4, 5)
    return data[:at] + (value % (1 << 8 * width)).to_bytes(width, order) + data[at + width :]


WORDS = (b"0", b"-1", b"1", b"2", b"255", b"2147483648", b"-9223372036854775809", b"18446744073709551616", b"1e400")
WORDS += (b"-0.0", b"nan", b"inf", b"1e-400", b"0x10", b"true", b"null", b"", b'""', b'"\\ud800"', b"\xff\xfe", b"\0", b"\n")
WORDS += (b"../../x", b"/etc/passwd", b"{", b"}", b"[", b"]", b",", b'"', b"'", b"#", b"\\", b"9" * 500, b"[" * 3000)
_TOKEN = re.compile(rb"\"[^\"\n]*\"|[A-Za-z_][\w.]*|-?\d[\d.eE+-]*|\s+|.", re.DOTALL)


def tokens(*words: bytes) -> Mutation:
    """A mutation of a text: a token replaced by a word or by another token, removed, repeated, or a line moved or removed.
    `words`: those of the format."""
    known = (*WORDS, *words)

    def change(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
        if rng.randrange(6) == 0:
            return _lines(data, rng, others)
        place = _token(data, rng)
        word = rng.choice(known) if rng.randrange(3) else _token_text(rng.choice((data, *others[:8])), rng)
        match rng.randrange(5):
            case 0:
                return data[: place[0]] + data[place[1] :]
            case 1:
                return data[: place[1]] + data[place[0] :]
            case 2:
                return data[: place[0]] + word + data[place[0] :]
            case _:
                return data[: place[0]] + word + data[place[1] :]

    return change


def _token(data: bytes, rng: random.Random) -> tuple[int, int]:
    found = _TOKEN.search(data, rng.randrange(len(data) + 1))
    return found.span() if found else (len(data), len(data))


def _token_text(data: bytes, rng: random.Random) -> bytes:
    start, stop = _token(data, rng)
    return data[start:stop]


def _lines(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """A line removed, repeated up to 2,000 times, or put elsewhere, or a line of another input."""
    lines = data.splitlines(keepends=True) or [b""]
    source = lines if rng.randrange(2) else rng.choice(others).splitlines(keepends=True) or [b""]
    at, line = rng.randrange(len(lines)), rng.choice(source)
    kind = rng.randrange(8)
    changed = [line] * min(rng.choice((2, 40, 2000)), MOST // (len(line) + 1) + 1) if kind == 0 else [] if kind < 4 else [line]
    return b"".join([*lines[:at], *changed, *lines[at + (kind < 6) :]])


MOST = 1 << 20
"""Bytes that are repeated at most."""
VALUES: tuple[Any, ...] = (None, True, False, 0, 1, -1, 2, 8, 255, 2**31, -(2**63), 2**64, 10**400, 0.5, -0.0, 1e308)
VALUES += ("", "x", "int8", "../x", "/etc/passwd", "\n", "\x1b[31m", "é", "0" * 64)
VALUES += ([], [1], [[]], {}, {"x": 1}, [0] * 3000, {"kind": "x"})


def values(data: bytes, rng: random.Random, others: Sequence[bytes]) -> bytes:
    """A mutation of JSON: one value or key replaced, removed, repeated, nested, or put in the place of another."""
    try:
        whole = json.loads(data)
    except (ValueError, RecursionError):
        return TEXT(data, rng, others)
    return json.dumps(changed_value(whole, rng)).encode()


def changed_value(whole: Any, rng: random.Random) -> Any:
    """JSON's values, of which one is changed."""
    holder, key = _place(whole, rng)
    if holder is None:
        return rng.choice(VALUES)
    other, theirs = _place(whole, rng)
    match rng.randrange(8):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, dict):
            holder[str(rng.choice((*VALUES, *holder)))] = holder.pop(key)
        case 2 if isinstance(holder, list):
            holder[key:key] = [holder[key]] * min(rng.choice((1, 2, 200)), MOST // len(json.dumps(holder[key])) + 1)
        case 3:
            holder[key] = [holder[key]] if rng.randrange(2) else {"x": holder[key]}
        case 4 if other is not None:
            holder[key] = json.loads(json.dumps(other[theirs]))
        case 5 if isinstance(holder[key], int | float):
            holder[key] = rng.choice((holder[key] + 1, -holder[key], holder[key] * 2, holder[key] - 1, str(holder[key])))
        case _:
            holder[key] = rng.choice(VALUES)
    return whole


def _place(whole: Any, rng: random.Random) -> tuple[Any, Any]:
    """A list or object and a place in it, however deep; (None, None) without one."""
    found: tuple[Any, Any] = (None, None)
    value = whole
    while isinstance(value, dict | list) and value and (found[0] is None or rng.randrange(4)):
        key = rng.choice(list(value)) if isinstance(value, dict) else rng.randrange(len(value))
        found, value = (value, key), value[key]
    return found


TEXT = tokens()
