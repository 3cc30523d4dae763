"""A detector of float windows on a Cortex-M4: flash, RAM, instructions, and golden data on two cores, in an emulator.

    python benchmarks/microcontrollers.py --json microcontrollers.json

The net is 1024-64-16 on windows of the ECG that ships, in millivolts, float32, trained for few epochs: its bytes and its
instructions do not depend on its error. gcc -O2 -mcpu=cortex-m4 -mthumb, without a unit for floats. The firmware is
microcontrollers.c on examples/boards: a static arena, a static window. Instructions are counted by QEMU; no board was measured.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from c_files import tool
from needs import require
from rows import Row, arguments_of, report

from tiedae import Anomaly, Dataset, TiedAutoencoder, export_bundle, quantize
from tiedae.apps.c.layout import c_project
from tiedae.compress import CheckError, DataConfig, ExportConfig
from tiedae.data.samples import Samples
from tiedae.data.scaling_fit import fit_scaling
from tiedae.export.c.text import named
from tiedae.pipeline.sources import load_dataset
from tiedae.report.console import Console

sys.path.append(str(Path(__file__).parent.parent))
from tests.export.c.compiled import write_project
from tests.export.c.models import CASES

HERE = Path(__file__).parent
BOARDS = HERE.parent / "examples" / "boards"
CORES = ("mps2-an386", "virt")
NAME, WINDOW, STRIDE, LAYERS, EPOCHS = "detector", 1024, 32, [64, 16], 4
KERNELS = WINDOW * LAYERS[0] + LAYERS[0] * LAYERS[1]
"""Stored weights, a byte each."""
CALLS, WINDOWS = 100, 10
LOOP = 1_000_000
SCORE, ENCODE, BOTH = (("--signatures", each, "--files", "none") for each in ("score", "encode", "encode,decode"))
"""Options of `tiedae package`: what is measured, and how the encoder alone compares."""
STATED = (
    (),
    SCORE,
    ENCODE,
    BOTH,
    ("--signatures", "decode", "--files", "none"),
    ("--signatures", "encode", "--files", "lossy"),
    ("--files", "none", "--storage", "sparse"),
    (*SCORE, "--storage", "sparse"),
)
COMPILER = "arm-none-eabi-gcc -mcpu=cortex-m4 -mthumb"
PARTS = ("kernels", "biases", "tables", "code", "library")
"""Of the flash that `tiedae package --cc` states."""
FORBIDDEN = re.compile(r"__aeabi_(d.*|c?d.*cmp.*|.*2d|u?ldivmod|fdiv)|__.*df.*")
"""Software double, division of 64 bits, division of floats."""


def main() -> int:
    arguments = arguments_of(__doc__ or "").parse_args()
    return report("Microcontrollers", measure, arguments.json)


def measure(console: Console) -> Sequence[Row]:
    gcc = ("arm-none-eabi-gcc", "riscv64-unknown-elf-gcc")
    require(packages=("tensorflow",), programs=("make", *gcc, "qemu-system-arm", "qemu-system-riscv32"))
    with tempfile.TemporaryDirectory() as work:
        console.note("training, for few epochs …")
        windows = windows_of_the_record()
        bundle = bundle_of(windows, Path(work) / "bundle")
        chosen = windows[:: len(windows) // WINDOWS][:WINDOWS]
        (Path(work) / "windows.h").write_text(windows_text(chosen), encoding="utf-8")
        require_counter(Path(work))
        return [*score_rows(bundle), failed_row(bundle), encoder_row(bundle), stated_row(bundle)]


def windows_of_the_record() -> np.ndarray:
    """float32 [n, 1024] in millivolts."""
    record = load_dataset(DataConfig("ecg", window=WINDOW, split="tail"), "linear").train.values.reshape(-1)
    cut = np.lib.stride_tricks.sliding_window_view(record, WINDOW)[::STRIDE]
    return ((cut - 1024) / 200).astype(np.float32)


def bundle_of(windows: np.ndarray, folder: Path) -> Path:
    """An anomaly bundle of windows of a record."""
    cuts = [len(windows) * 7 // 10, len(windows) * 17 // 20]
    train, validation, test = (Samples(part) for part in np.split(windows, cuts))
    scaling = fit_scaling("auto", train, output_activation="linear")
    config = DataConfig("array", test=0.15, validation=0.15)
    data = Dataset(train, validation, test, scaling, windows=True, config=config).with_scaling(scaling)
    model = TiedAutoencoder(LAYERS, activation="relu", output_activation="linear")
    model.fit(data, epochs=EPOCHS, verbose=0)
    export = ExportConfig(stock=False, targets=("onnx",))
    small = quantize(model, data, epochs=0)
    return export_bundle(small, folder, data=data, export=export, task=Anomaly(), name=NAME, verbose=False).path


def packaged(bundle: Path, name: str, *options: str) -> Path:
    """The folder that `tiedae package --for c` writes, beside the bundle."""
    folder = bundle.parent / name
    tool(sys.executable, "-m", "tiedae", "package", str(bundle), "--for", "c", "-o", str(folder), *options, folder=bundle)
    return folder


def windows_text(windows: np.ndarray) -> str:
    """C of float32 [n, inputs]."""
    rows = ",\n".join(
        "{" + ", ".join(f"{value:.9g}f" if value % 1 else f"{value:.1f}f" for value in row) + "}" for row in windows
    )
    head = f"#define CALLS {CALLS}u\n#define WINDOWS {len(windows)}u\n"
    return f"{head}static const float windows[WINDOWS][{windows.shape[1]}] = {{\n{rows}\n}};\n"


@dataclass(frozen=True)
class Image:
    """A linked program, of a model or of none."""

    path: Path

    @cached_property
    def sizes(self) -> tuple[int, int]:
        """Bytes in flash and of static RAM."""
        text, data, bss = map(int, self.listed("size").splitlines()[1].split()[:3])
        return text + data, data + bss

    @cached_property
    def symbols(self) -> list[tuple[str, str, int]]:
        """Name, type and bytes, 0 where none are stated."""
        rows = re.findall(r"^[0-9a-f]+ (?:([0-9a-f]+) )?(\w) (\S+)$", self.listed("nm", "-S"), re.MULTILINE)
        return [(name, kind, int(size or "0", 16)) for size, kind, name in rows]

    def listed(self, program: str, *options: str) -> str:
        return tool(f"arm-none-eabi-{program}", *options, str(self.path), folder=self.path.parent)

    def bytes_of(self, pattern: str) -> int:
        """Of symbols whose whole name matches."""
        return sum(size for name, _, size in self.symbols if re.fullmatch(pattern, name))

    @property
    def kernels(self) -> int:
        return self.bytes_of(rf"{NAME}_kernel_\d+")

    @property
    def biases(self) -> int:
        return self.bytes_of(rf"{NAME}_\w+_bias\w*")

    @property
    def constants(self) -> int:
        return sum(size for _, kind, size in self.symbols if kind in "rR")


def firmware(folder: Path, *calls: str) -> Image:
    """microcontrollers.c with a folder's model and the windows beside it, for the Cortex-M4; `calls`: SCORE, ENCODE, DECODE."""
    build = folder / "-".join(("firmware", *calls)).lower()
    build.mkdir(exist_ok=True)
    text = (HERE / "microcontrollers.c").read_text(encoding="utf-8").replace("NAMED", NAME)
    (build / "firmware.c").write_text(named(text, NAME), encoding="utf-8")
    defined = " ".join(f"-DCALL_{call}" for call in calls)
    made = built(folder, NAME, CORES[0], build, f"MAIN={build}/firmware.c", f"CFLAGS=-O2 -I{folder.parent} {defined}")
    return Image(made)


def built(folder: Path, name: str, board: str, build: Path, *variables: str) -> Path:
    """The image of examples/boards."""
    places = (f"FOLDER={folder}", f"NAME={name}", f"BOARD={board}", f"BUILD={build}")
    tool("make", "-s", *places, *variables, folder=BOARDS)
    return build / f"{name}-{board}.elf"


def counted(image: Image) -> tuple[int, int]:
    """Instructions of all calls, and bytes of the deepest stack, as the firmware prints them."""
    emulated = ("qemu-system-arm", "-M", "mps2-an386", "-display", "none", "-chardev", "stdio,id=text")
    options = ("-semihosting-config", "enable=on,target=native,chardev=text", "-icount", "shift=0")
    instructions, stack = map(int, re.findall(r"\d+", tool(*emulated, *options, "-kernel", str(image.path), folder=BOARDS)))
    return instructions, stack


def require_counter(work: Path) -> None:
    """Raise CheckError unless a loop of known length has as many instructions."""
    loop = (
        '#include <stdio.h>\n#include "board.h"\n\n'
        "int main(void)\n{\n"
        f"  uint32_t n = {LOOP}, before = board_instructions();\n"
        '  __asm__ volatile("1: subs %0, %0, #1\\n bne 1b" : "+r"(n) : : "cc");\n'
        '  printf("%lu %lu\\n", (unsigned long)(board_instructions() - before), (unsigned long)board_stack_used());\n'
        "  return 0;\n}\n"
    )
    (work / "loop.c").write_text(loop, encoding="utf-8")
    image = Image(built(BOARDS.parent / "c", "heartbeat", CORES[0], work, f"MAIN={work}/loop.c"))
    found, _ = counted(image)
    if not 0 <= found - 2 * LOOP <= 120:
        raise CheckError(f"instructions: SysTick counts {found:,} of a loop of {2 * LOOP:,}")


def score_rows(bundle: Path) -> list[Row]:
    folder = packaged(bundle, "score", *SCORE)
    image, empty = firmware(folder, "SCORE"), firmware(folder)
    if image.kernels != KERNELS:
        raise CheckError(f"kernels: got {image.kernels:,} B in the image, must be {KERNELS:,}")
    flash, static = (ours - others for ours, others in zip(image.sizes, empty.sizes, strict=True))
    constants, arena = image.constants - empty.constants - KERNELS, image.bytes_of("arena")
    tables = constants - image.biases
    instructions, stack = counted(image)
    forbidden = sorted({name for name, _, _ in image.symbols if FORBIDDEN.fullmatch(name)})
    code = f"code {flash - KERNELS - constants:,}, tables but biases {tables:,} B; of {flash:,} B"
    count = f"{instructions / CALLS:,.0f} a score of {2 * KERNELS:,} products, scaling included, counted by QEMU"
    return [
        Row("m4_flash_overhead_kb", (flash - KERNELS - image.biases) / 1000, "kB", "<= 5", "<= 4", code),
        Row("m4_bias_kb", constants / 1000, "kB", "<= 4.6", "<= 2.4", f"biases {image.biases:,}, tables {tables:,} B"),
        Row("m4_ram_kb", (static + arena + stack) / 1000, "kB", "<= 6", "<= 4", f"arena {arena:,}, painted stack {stack:,} B"),
        Row("m4_forbidden_symbols", len(forbidden), "symbols", "== 0", "", ", ".join(forbidden) or "none"),
        Row("m4_instructions", instructions / CALLS / (2 * KERNELS), "a product", "<= 7", "<= 4", count),
    ]


def failed_row(bundle: Path) -> Row:
    """Golden samples and .tae files: of the folder that is measured, of all that a bundle has, of the models of the tests."""
    work = bundle.parent
    folders = {f"{NAME}, score": (work / "score", NAME), f"{NAME}, all": (packaged(bundle, "all"), NAME)}
    for case in CASES:
        made = case.made()
        project = write_project(c_project(made.source, made.golden), work / case.name)
        folders[case.name] = project, made.source.name
    runs = {f"{title} on {core}": ran(*each, core, work) for title, each in folders.items() for core in CORES}
    failed = [title for title, code in runs.items() if code]
    return Row("m4_failed", len(failed), "checks", "== 0", "", f"of {len(runs)}: {', '.join(failed) or 'exit code 0'}")


def ran(folder: Path, name: str, core: str, work: Path) -> int:
    """The status of `make run`: 0 where the check's exit code is."""
    variables = (f"FOLDER={folder}", f"NAME={name}", f"BOARD={core}", f"BUILD={work / 'checks'}")
    return subprocess.run(
        ["make", "-s", "run", *variables], cwd=BOARDS, capture_output=True, timeout=300, check=False
    ).returncode


def encoder_row(bundle: Path) -> Row:
    """Code and tables that firmware gets by calls of `encode`, and of `encode` and `decode`."""
    folders = {("ENCODE",): packaged(bundle, "encode", *ENCODE), ("ENCODE", "DECODE"): packaged(bundle, "both", *BOTH)}
    images = [(firmware(folder, *calls), firmware(folder)) for calls, folder in folders.items()]
    alone, both = (image.sizes[0] - empty.sizes[0] - image.kernels for image, empty in images)
    coded, all_coded = (size - image.biases for size, (image, _) in zip((alone, both), images, strict=True))
    detail = f"{coded:,} / {all_coded:,} B; with biases {alone:,} / {both:,} B, {alone / both:.2f}"
    return Row("encoder_only_flash_ratio", coded / all_coded, "x", "<= 0.65", "<= 0.5", detail)


def stated_row(bundle: Path) -> Row:
    """What `tiedae package --cc` states against `size` of an image of the same functions on a board."""
    ratios: dict[str, float] = {}
    for i, options in enumerate(STATED):
        stated_file = bundle.parent / f"stated-{i}.json"
        folder = packaged(bundle, f"stated-{i}", *options, "--cc", COMPILER, "--json", str(stated_file))
        stated = json.loads(stated_file.read_bytes())["core_bytes"]
        ratios[" ".join(options) or "all"] = sum(stated[part] for part in PARTS) / flash_of(folder, sorted(stated["stacks"]))
    detail = ", ".join(f"{options} {ratio:.4f}" for options, ratio in ratios.items())
    return Row("stated_flash_error", max(abs(ratio - 1) for ratio in ratios.values()), "of it", "<= 0.01", "", detail)


def flash_of(folder: Path, functions: Sequence[str]) -> int:
    """Bytes that functions of a folder's model add to an image, by `size`."""
    texts = ["0", ", ".join(f"(const void *){name}" for name in functions)]
    sizes = []
    for kept in texts:
        text = f'#include "{NAME}_float.h"\nconst void *const kept[] = {{{kept}}};\n'
        text += 'int main(void)\n{\n  __asm__ volatile("" : : "r"(kept));\n  return 0;\n}\n'
        (folder / "kept.c").write_text(text, encoding="utf-8")
        image = Image(built(folder, NAME, CORES[0], folder, f"MAIN={folder}/kept.c"))
        sizes.append(image.sizes[0] - image.bytes_of("kept"))
    return sizes[1] - sizes[0]


if __name__ == "__main__":
    sys.exit(main())
