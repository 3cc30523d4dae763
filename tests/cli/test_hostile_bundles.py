"""Bundles that a stranger made to do harm, or that were damaged: every command ends with a code and one line.

Nothing is written outside of the folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tiedae.cli import main
from tiedae.export.file_info import FileInfo

from ..variants import every

SEED = 0
FLIPS = 12
"""Bytes of each file that one is changed of at a time."""


@pytest.fixture
def bundle(finished_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_run / "bundle", tmp_path / "bundle"))


def outcome(capfd: pytest.CaptureFixture[str], *call: object) -> tuple[int, str]:
    """Exit code and the last line of standard error: none but 0, 1 and 2, one line of error, and no traceback."""
    capfd.readouterr()
    code = main([*map(str, call), "-q"])
    out, err = capfd.readouterr()
    lines = [line for line in err.splitlines() if line.startswith("tiedae: ")]
    assert code in (0, 1, 2) and len(lines) == (code != 0), (call, code, err[-2000:])
    assert not set(map(chr, range(32))) - {"\n", "\t"} & {*out, *err}
    return code, lines[-1] if lines else ""


def changed(bundle: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = bundle / "manifest.json"
    written = json.loads(path.read_bytes())
    change(written)
    path.write_text(json.dumps(written))


def first_value(manifest: dict[str, Any], target: str) -> dict[str, Any]:
    info = next(each for name, each in manifest["files"].items() if name.endswith(target))
    return next(iter(info["signatures"].values()))["inputs"][0]


EVIL = "x\n\n# owned\x1b[31m"
NAMES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "relative": (lambda m: m.update(name="../../owned"), "name: got"),
    "absolute": (lambda m: m.update(name="/owned/name"), "name: got"),
    "escape codes": (lambda m: m.update(name="\x1b[2Jowned"), "name: got"),
    "NUL": (lambda m: m.update(name="owned\0"), "name: got"),
    "lone surrogate": (lambda m: m.update(name="\ud800"), "not JSON"),
    "a newline at the end": (lambda m: m.update(name="mini\n"), "name: got"),
    "hash": (lambda m: m["kernels"][0].update(sha256="ab" * 32 + "\n"), "kernels[0].sha256: got"),
    "input": (lambda m: first_value(m, ".tflite").update(name=EVIL), "inputs[0].name: got"),
    "dtype": (lambda m: first_value(m, ".onnx").update(dtype="int8)\nimport os #"), "inputs[0].dtype: got"),
    "licence": (lambda m: m["data"].update(licence=EVIL), "data.licence: got"),
    "source": (lambda m: m["data"].update(source=EVIL), "data.source: got"),
    "version": (lambda m: m["versions"].update({EVIL: "1"}), "versions: got the key"),
    "file above": (lambda m: m["files"].update({"../owned": m["files"]["metrics.json"]}), "got the key '../owned'"),
    "file elsewhere": (lambda m: m["files"].update({"/etc/passwd": m["files"]["metrics.json"]}), "got the key '/etc/passwd'"),
    "constant": (lambda m: m["operations"]["fused"]["constants"].update({EVIL: {}}), "must be"),
    "sample type": (lambda m: m["data"].update(dtype="float77"), "data.dtype: got"),
}


@pytest.mark.parametrize("what", NAMES)
def test_a_name_of_a_stranger_is_refused_before_anything_is_written(
    bundle: Path, recipe_file: Path, what: str, capfd: pytest.CaptureFixture[str]
) -> None:
    change, text = NAMES[what]
    changed(bundle, change)
    before = {path: path.stat().st_mtime_ns for path in bundle.parent.rglob("*")}
    for call in (
        ("report", bundle),
        ("rescale", bundle, "--data", recipe_file.parent / "samples.npy", "-o", bundle.parent / "out"),
        ("package", bundle, "--for", "npm", "-o", bundle.parent / "npm"),
    ):
        code, line = outcome(capfd, *call)
        assert code == 2 and text in line
    assert {path: path.stat().st_mtime_ns for path in bundle.parent.rglob("*")} == before


def restated(bundle: Path, name: str) -> None:
    """State the sha256 and size of a file anew, as who changed it would."""
    info = FileInfo.of((bundle / name).read_bytes())
    changed(bundle, lambda m: m["files"][name].update(sha256=info.sha256, bytes=info.bytes))


@pytest.mark.parametrize("name", ["MODEL_CARD.md", "report.html", "manifest.json"])
def test_a_report_replaces_links_and_follows_none(bundle: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    profile = bundle.parent / ".profile"
    profile.write_bytes((bundle / name).read_bytes())
    before = profile.read_bytes()
    (bundle / name).unlink()
    (bundle / name).symlink_to(profile)
    assert outcome(capfd, "report", bundle) == (0, "")
    assert profile.read_bytes() == before and not (bundle / name).is_symlink() and (bundle / name).is_file()


def test_free_text_in_a_card_is_text(bundle: Path, capfd: pytest.CaptureFixture[str]) -> None:
    text = "<script>alert(1)</script> [free](javascript:alert) | # owned ```\n# owned\x1b[31m"

    def spoil(metrics: dict[str, Any]) -> None:
        metrics["checks"][0] |= {"ok": False, "text": text}
        metrics["skipped"] = [{"kind": "opens", "why": "not installed", "what": text, "reason": text}]
        metrics["versions"] = {text: text}
        metrics["history"][0]["stage"] = text

    metrics = json.loads((bundle / "metrics.json").read_bytes())
    spoil(metrics)
    (bundle / "metrics.json").write_text(json.dumps(metrics))
    restated(bundle, "metrics.json")
    changed(bundle, lambda m: m["data"].update(licence="`a` <img src=x onerror=alert(1)>", source="a` [x](y) `b|c"))
    restated(bundle, "metrics.json")
    assert outcome(capfd, "report", bundle) == (0, "")
    card = (bundle / "MODEL_CARD.md").read_text()
    assert "# owned" in card and not [line for line in card.splitlines() if line.startswith(("# owned", "```\n"))]
    for active in ("<script", "<img", "[free](", "\x1b"):
        assert active not in card.replace("\\" + active, "")
    assert "a` \\[x](y) `b\\|c" in card
    page = (bundle / "report.html").read_text()
    assert "<script>alert" not in page and "<img src=x" not in page


READ = ("manifest.json", "metrics.json", "golden/x.npy", "golden/program.npz", "mini.int8.onnx", "mini.codec")


def test_a_measure_that_nobody_knows_is_one_line(bundle: Path, capfd: pytest.CaptureFixture[str]) -> None:
    metrics = json.loads((bundle / "metrics.json").read_bytes())
    next(row for row in metrics["quality"] if row["fidelity"])["fidelity"]["measure"] = "owned"
    (bundle / "metrics.json").write_text(json.dumps(metrics))
    restated(bundle, "metrics.json")
    code, line = outcome(capfd, "report", bundle)
    assert code == 2 and "fidelity.measure: got 'owned', must be one of PRDN, PSNR, R²" in line


@pytest.mark.parametrize("command", ["encode", "codes", "decode", "dedupe"])
@pytest.mark.parametrize("kind", ["device", "named pipe"])
def test_an_output_replaces_no_device_and_no_pipe(
    bundle: Path, recipe_file: Path, command: str, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """A link to /dev/null takes the place of the device itself, which only root may replace."""
    samples, codes = recipe_file.parent / "samples.npy", bundle / "golden" / "code.npy"
    call, suffix = {
        "encode": (("encode", bundle, samples), ".tae"),
        "codes": (("encode", bundle, samples), ".npy"),
        "decode": (("decode", bundle, codes), ".npy"),
        "dedupe": (("dedupe", bundle / "mini.int8.tflite"), ".tflite"),
    }[command]
    out = bundle.parent / f"out{suffix}"
    if kind == "device":
        out.symlink_to("/dev/null")
    else:
        os.mkfifo(out)
    assert outcome(capfd, *call, "-o", out, "--force") == (
        2,
        f"tiedae: {out}: is a {kind}, must be a regular file or a new one",
    )
    assert Path("/dev/null").is_char_device() and (out.is_symlink() or out.is_fifo())


def test_paths_that_the_locale_cannot_read_are_one_line(bundle: Path) -> None:
    """Bytes of UTF-8 where the locale is ASCII: refused before any work, not a traceback of a library behind it."""
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0"}
    name = bundle.parent / "é"
    bundle.rename(name)
    for call in (("verify", name), ("report", name), ("inspect", name / "mini.int8.onnx"), ("info", name)):
        command = [sys.executable, "-m", "tiedae", *map(str, call)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1
        assert "is no text in ascii, the encoding of the locale; set PYTHONUTF8=1 or LC_ALL=C.UTF-8" in done.stderr


UNREADABLE: dict[str, Callable[[Path], object]] = {
    "a named pipe": os.mkfifo,
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
    "a folder": Path.mkdir,
}


@pytest.mark.parametrize("kind", every(3, UNREADABLE))
@pytest.mark.parametrize(
    "name", every(2, ["manifest.json", "metrics.json", "golden/x.npy", "golden/program.npz", "mini.int8.onnx", "mini.codec"])
)
def test_what_is_no_file_is_not_waited_for(
    bundle: Path, recipe_file: Path, name: str, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (bundle / name).unlink()
    UNREADABLE[kind](bundle / name)
    samples, out = recipe_file.parent / "samples.npy", bundle.parent
    for call in (
        ("report", bundle),
        ("encode", bundle, samples, "-o", out / "x.tae"),
        ("encode", bundle, samples, "-o", out / "x.npy", "--runtime", "ort-cpu"),
        ("package", bundle, "--for", "c", "-o", out / "c"),
        ("inspect", bundle / name),
    ):
        outcome(capfd, *call)
    if name in ("golden/x.npy", "golden/program.npz", "manifest.json"):
        assert outcome(capfd, "verify", bundle)[0] in (1, 2)


def test_a_golden_array_that_is_an_archive_or_of_a_huge_shape_is_one_line(
    bundle: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    x = bundle / "golden" / "x.npy"
    with x.open("wb") as file:
        np.savez(file, x=np.zeros(3))
    restated(bundle, "golden/x.npy")
    assert outcome(capfd, "verify", bundle)[0] == 1 and outcome(capfd, "report", bundle)[0] == 2
    with x.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (1 << 50, 24)})
    restated(bundle, "golden/x.npy")
    assert outcome(capfd, "verify", bundle)[0] == 1 and outcome(capfd, "report", bundle)[0] == 2


def flipped(data: bytes, place: int, bits: int) -> bytes:
    return data[:place] + bytes([data[place] ^ bits]) + data[place + 1 :]


CALLS: dict[str, Sequence[Sequence[str]]] = {
    "manifest.json": [("report", "{bundle}"), ("encode", "{bundle}", "{samples}", "-o", "{out}/x.tae", "--force")],
    "metrics.json": [("report", "{bundle}")],
    "golden/x.npy": [("report", "{bundle}")],
    "golden/program.npz": [("report", "{bundle}"), ("encode", "{bundle}", "{samples}", "-o", "{out}/x.tae", "--force")],
    "mini.codec": [("encode", "{bundle}", "{samples}", "-o", "{out}/x.tae", "--force")],
    "mini.residuals": [("encode", "{bundle}", "{samples}", "-o", "{out}/x.tae", "--force", "--lossless")],
    "mini.int8.onnx": [("inspect", "{bundle}/{name}"), ("report", "{bundle}")],
    "mini.int8.tflite": [("inspect", "{bundle}/{name}"), ("report", "{bundle}")],
}


@pytest.mark.ci
@pytest.mark.parametrize("name", CALLS)
def test_a_changed_byte_is_an_outcome(
    bundle: Path, recipe_file: Path, name: str, capfd: pytest.CaptureFixture[str], flips: int = FLIPS
) -> None:
    """Whoever changes it also states its hash; every byte was tried once with `flips` of the file's size."""
    whole, manifest = (bundle / name).read_bytes(), (bundle / "manifest.json").read_bytes()
    rng = np.random.default_rng(SEED)
    places = range(len(whole)) if flips >= len(whole) else sorted(rng.choice(len(whole), flips, replace=False).tolist())
    for place in places:
        (bundle / name).write_bytes(flipped(whole, place, int(rng.integers(1, 256))))
        if name != "manifest.json":
            (bundle / "manifest.json").write_bytes(manifest)
            restated(bundle, name)
        for call in CALLS[name]:
            values = {"bundle": bundle, "samples": recipe_file.parent / "samples.npy", "out": bundle.parent, "name": name}
            outcome(capfd, *(part.format(**values) for part in call))
