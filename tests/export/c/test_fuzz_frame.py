"""A short run of libFuzzer on the codec in C, guided by coverage, under AddressSanitizer and UBSan."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tiedae.config.sample_spec import Kind

from .compiled import EXPECTED, tool
from .fuzz_codec import SOURCE, fuzzed, inputs, write_codec

pytestmark = pytest.mark.ci

SECONDS = float(os.environ.get("TIEDAE_FUZZ_SECONDS", "6"))
"""Of all models together; CI takes 30."""
CORPUS = Path(__file__).parent / "corpus"
"""Inputs for each kind of data: those that cover every edge that 500 s of guided runs found, made small."""
KINDS: tuple[Kind, ...] = ("image", "record")
OPTIONS = ("-g", "-O1", "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all")


def fuzzer(folder: Path) -> Path:
    """The program of `fuzz_frame.c` over the codec in a folder; skipped where clang has no libFuzzer."""
    program = folder / "fuzz"
    command = [tool("clang"), *OPTIONS, "-I", folder, SOURCE, "-o", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    if re.search(r"cannot find|no such file|not found", done.stderr) and "clang" not in EXPECTED:
        pytest.skip("clang here has no libFuzzer")
    assert not done.returncode, done.stderr[:3000]
    return program


def run(program: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """libFuzzer, which keeps what it finds in `folder`; it starts from the other folders among the options."""
    new = folder / "new"
    new.mkdir()
    limits = ("-seed=1", "-max_len=4096", "-timeout=20", "-rss_limit_mb=0", "-malloc_limit_mb=256", "-print_final_stats=1")
    command = [program, *limits, f"-artifact_prefix={folder}/", new, *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS + 120, cwd=folder)


@pytest.mark.parametrize("kind", KINDS)
def test_libfuzzer_finds_nothing(kind: Kind, tmp_path: Path) -> None:
    model, begin = fuzzed(kind, classed=kind == "record"), tmp_path / "inputs"
    write_codec(model, tmp_path)
    begin.mkdir()
    for i, data in enumerate(inputs(model)):
        (begin / f"{i}").write_bytes(data)
    seconds = max(1, round(SECONDS / len(KINDS)))
    done = run(fuzzer(tmp_path), tmp_path, str(begin), str(CORPUS / kind), f"-max_total_time={seconds}")
    assert not done.returncode, done.stderr[-3000:]
    found = re.search(r"number_of_executed_units: (\d+)", done.stderr)
    assert found is not None and int(found[1]) > 2 * len(list((CORPUS / kind).iterdir()))


def test_a_read_past_the_bytes_is_found(tmp_path: Path) -> None:
    """The reader of payloads without the check that two bytes are left."""
    source = write_codec(fuzzed("image", classed=False), tmp_path)
    text = source.read_text()
    broken = re.sub(r"payload->back - payload->front < 2\b", "payload->back - payload->front < 0", text)
    assert broken != text
    source.write_text(broken)
    done = run(fuzzer(tmp_path), tmp_path, str(CORPUS / "image"), "-max_total_time=20")
    assert done.returncode and "AddressSanitizer: heap-buffer-overflow" in done.stderr
