"""What is stated of flash and RAM is that of a linked image."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest

from tiedae.apps.c.core import Core, CoreBytes, Stacks, core_bytes
from tiedae.base.errors import CheckError, InputError, UnavailableError

from ...export.c.compiled import tool
from ...export.c.models import CASES, Made
from ...variants import every
from .linked import OPTION_SETS, OptionSet, linked_flash

COMPILERS = {
    "cortex-m4": ("arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb"),
    "cortex-m0plus": ("arm-none-eabi-gcc", "-mcpu=cortex-m0plus", "-mthumb", "-Os"),
    "rv32": ("riscv64-unknown-elf-gcc", "-march=rv32imac", "-mabi=ilp32"),
    "here": ("gcc",),
}


@cache
def made_of(name: str) -> Made:
    return next(case for case in CASES if case.name == name).made()


def stated(options: OptionSet, compiler: Sequence[str]) -> CoreBytes:
    made = made_of(options.model)
    return core_bytes(options.source(made), made.program, compiler, floats=bool(made.golden.floats))


@pytest.mark.ci
@pytest.mark.parametrize("core", COMPILERS)
@pytest.mark.parametrize("options", OPTION_SETS, ids=lambda each: f"{each.model}-{'-'.join(each.signatures or ['all'])}")
def test_stated_flash_is_the_images(core: str, options: OptionSet, tmp_path: Path) -> None:
    compiler, made = COMPILERS[core], made_of(options.model)
    prefix = compiler[0].removesuffix("gcc")
    tools = [tool(compiler[0]), tool(f"{prefix}size"), tool(f"{prefix}nm")]
    size = linked_flash(options.source(made), bool(made.golden.floats), compiler, tools[1], tools[2], tmp_path)
    assert stated(options, compiler).flash == pytest.approx(size, rel=0.01)


@pytest.mark.parametrize("core", every(2, COMPILERS))
def test_the_parts_are_what_they_are_called(core: str) -> None:
    """Kernels as they are stored; a detector alone has no tables of a codec, an encoder no biases of the decoder."""
    tool(COMPILERS[core][0])
    whole, scores, encodes = (
        stated(OptionSet("image", signatures, files, "dense"), COMPILERS[core])
        for signatures, files in ((None, ("lossy",)), (["score"], ()), (["encode"], ()))
    )
    source = OPTION_SETS[0].source(made_of("image"))
    assert whole.kernels == scores.kernels == encodes.kernels == source.kernel_bytes
    assert whole.biases >= scores.biases >= encodes.biases and (core == "here" or scores.biases > encodes.biases > 0)
    assert whole.tables > scores.tables + 1000 and whole.code > scores.code > encodes.code
    assert whole.arena == source.arena >= encodes.arena


def test_an_encoder_alone_takes_no_tables_of_the_decoder() -> None:
    tool("gcc")
    both, alone = (stated(OptionSet("image", each, ("lossy",), "dense"), ("gcc",)) for each in (["reconstruct"], ["encode"]))
    assert alone.code + alone.tables + alone.biases < 0.65 * (both.code + both.tables + both.biases)


def test_stacks_are_those_of_gcc() -> None:
    """The deepest chain, of functions in two files of the same name too; what has none is listed."""
    nodes = {"a": 8, "b.c:own": 16, "b": 0, "c": 100}
    text = "".join(
        f'node: {{ title: "{name}" label: "{name}\\na.c:4:47\\n{size} bytes (static)" }}\n' for name, size in nodes.items()
    )
    text += 'node: { title: "__aeabi_fdiv" label: "__aeabi_fdiv\\n<built-in>" shape : ellipse }\n'
    text += 'node: { title: "vla" label: "vla\\na.c:1:1\\n8 bytes (dynamic)" }\n'
    for caller, callee in (("a", "b.c:own"), ("a", "b"), ("b", "__aeabi_fdiv"), ("c", "vla")):
        text += f'edge: {{ sourcename: "{caller}" targetname: "{callee}" label: "a.c:4:125" }}\n'
    stacks = Stacks.of([text])
    assert [stacks.depth(each) for each in "abc"] == [24, 0, 100]
    assert stacks.uncounted(["a"]) == ("__aeabi_fdiv",) and stacks.uncounted(["a", "c"]) == ("__aeabi_fdiv", "vla")


def test_every_public_function_has_its_stack() -> None:
    tool("gcc")
    found = stated(OPTION_SETS[6], ("gcc",))
    assert found.stacks is not None and found.stack == found.stacks["table_score_float"] > found.stacks["table_is_anomaly"]
    assert set(found.stacks) == {"table_score_add", "table_is_anomaly", "table_score_float"} and found.uncounted == ()


def test_a_compiler_without_stacks_says_so() -> None:
    tool("clang")
    found = stated(OPTION_SETS[1], ("clang",))
    assert found.stack is None and found.kernels > 0
    assert ("RAM stack", "unknown: the compiler does not take -fcallgraph-info=su, gcc 10 and newer do") in found.rows
    with pytest.raises(InputError, match="the stack is unknown"):
        found.require_fits(Core(("clang",), ram=1 << 20))


FIRM = CoreBytes("cc", 1000, 100, 10, 500, 6, 96, {"m_score": 60, "m_encode": 40})


@pytest.mark.parametrize(
    ("flash", "ram", "text"),
    [
        (1616, 156, ""),
        (None, None, ""),
        (1615, None, "flash of 1,616 bytes, the core has 1,615: 1 too many"),
        (None, 100, "RAM of 156 bytes, the core has 100: 56 too many"),
        (600, 100, "flash of 1,616 bytes, the core has 600: 1,016 too many; RAM of 156 bytes, the core has 100: 56 too many"),
    ],
)
def test_a_core_has_the_memory_or_not(flash: int | None, ram: int | None, text: str) -> None:
    core = Core(("cc",), flash, ram)
    if not text:
        FIRM.require_fits(core)
        return
    with pytest.raises(CheckError) as error:
        FIRM.require_fits(core)
    assert str(error.value) == f"does not fit: {text}"


def test_a_linker_that_fails_says_why(tmp_path: Path) -> None:
    compiler = tool("gcc")
    with pytest.raises(UnavailableError, match=r"\berror\b"):
        stated(OPTION_SETS[1], (compiler, "-Wl,--no-such-option"))


def test_a_stack_that_is_not_stated_is_unknown() -> None:
    """With -flto, gcc states the functions of none of its files."""
    assert stated(OPTION_SETS[1], (tool("gcc"), "-flto")).stack is None


def test_a_compiler_whose_functions_are_not_found_says_so() -> None:
    with pytest.raises(UnavailableError, match=r"nm lists no function image_… of image\.o"):
        stated(OPTION_SETS[1], (tool("gcc"), "-fleading-underscore"))


def test_another_name_of_a_function_has_its_stack_and_is_counted_once() -> None:
    node = 'node: {{ title: "{}" label: "f\\n{} bytes (static)" }}'
    edges = 'edge: { sourcename: "m_score" targetname: "m.c:m_step_9" } edge: { sourcename: "m_score" targetname: "__lmul" }'
    stacks = Stacks.of([f"{node.format('m_score', 8)} {node.format('m.c:m_step_0', 32)} {edges}"])
    assert stacks.depth("m_score") == 40 and stacks.uncounted(["m_score"]) == ("__lmul",)
