"""The limits of a search, and how far measurements exceed them."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass

from tiedae.base.errors import InputError

UNITS = {"": 1, "k": 1000, "M": 1000**2, "Ki": 1024, "Mi": 1024**2}
ABOVE_ZERO = {
    "--max-latency-us": "microseconds above 0, such as 25",
    "--max-bits": "bits per sample above 0, such as 150",
}


def parse_bytes(text: str) -> int:
    """`60k`, `64Ki`, `1.5M` or plain bytes → bytes (k = 1000, Ki = 1024); InputError for anything else."""
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(k|Ki|M|Mi|)B?", text.strip())
    count = int(float(found[1]) * UNITS[found[2]]) if found else 0
    if count < 1:
        raise InputError(f"--max-bytes: got {text!r}, must be a size such as 60000, 60k, 64Ki or 1.5M")
    return count


def parse_fraction(text: str) -> float:
    """`2%` or `0.02` → 0.02; InputError for anything else, including numbers above 1 without %, which could mean percent."""
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*(%?)", text.strip())
    if not found:
        raise InputError(f"--max-quality-loss: got {text!r}, must be a fraction of 0 or more, such as 2% or 0.02")
    if not found[2] and float(found[1]) > 1:
        raise InputError(f"--max-quality-loss: got {text!r}, must be {found[1]}% or, as a fraction, at most 1")
    return float(found[1]) / (100 if found[2] else 1)


def parse_above_zero(text: str, option: str) -> float:
    """A number above 0, of an option in `ABOVE_ZERO`; InputError for anything else."""
    found = re.fullmatch(r"[0-9]+(?:\.[0-9]+)?", text.strip())
    if not found or not float(text):
        raise InputError(f"{option}: got {text!r}, must be {ABOVE_ZERO[option]}")
    return float(text)


@dataclass(frozen=True)
class SearchLimits:
    """Maximum bytes, error increase (fraction of the float model's error), latency, and bits per sample of a .tae file.

    inf: no limit. At least one is given.
    """

    bytes: float = math.inf
    error_increase: float = math.inf
    latency_us: float = math.inf
    bits: float = math.inf

    def __post_init__(self) -> None:
        if min(asdict(self).values()) == math.inf:
            raise InputError("nothing to search for: give --max-bytes, --max-quality-loss, --max-bits or --max-latency-us")

    def excess(
        self, size: float, error_increase: float, latency_us: float | None, bits: float | None = None
    ) -> dict[str, float]:
        """The relative excess over each given limit; 0 or less if the limit holds."""
        beyond = {
            "bytes": size / self.bytes - 1,
            "error_increase": (1 + error_increase) / (1 + self.error_increase) - 1,
            "latency_us": 0.0 if latency_us is None else latency_us / self.latency_us - 1,
            "bits": 0.0 if bits is None else bits / self.bits - 1,
        }
        return {name: beyond[name] for name, limit in self.to_json().items() if limit is not None}

    def texts(self) -> list[str]:
        """The given limits as command-line options."""
        asked = {
            f"--max-bytes {self.bytes:,.0f}": self.bytes,
            f"--max-quality-loss {100 * self.error_increase:g}%": self.error_increase,
            f"--max-bits {self.bits:g}": self.bits,
            f"--max-latency-us {self.latency_us:g}": self.latency_us,
        }
        return [text for text, value in asked.items() if value < math.inf]

    def to_json(self) -> dict[str, float | None]:
        return {name: value if value < math.inf else None for name, value in asdict(self).items()}
