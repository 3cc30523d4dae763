"""The inputs that both files run on: what a caller gives, and what is searched."""

import itertools
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from tiedae.base.errors import InputError
from tiedae.dedupe.inputs import (
    BATCHES,
    CASES,
    ELEMENTS,
    LADDER,
    Given,
    candidates,
    parse_shapes,
    read_data,
    require_fits,
    tried_text,
)
from tiedae.export.model_file import Contents, Signature, TensorInfo
from tiedae.export.random_inputs import Draw, Ranges
from tiedae.runtimes.sandbox import TrialRun

AUDIO = (
    TensorInfo("input", "float32", (None, None), symbols=("batch", "sequence")),
    TensorInfo("sr", "int64", ()),
    TensorInfo("h", "float32", (2, None, 64), symbols=("", "batch", "")),
)
NOTHING = Given()
UNNAMED = tuple(replace(tensor, symbols=()) for tensor in AUDIO)


def contents(*tensors: TensorInfo) -> Contents:
    return Contents("onnx", 0, (), (Signature("s", tensors, (), {}),))


def shapes(*tensors: TensorInfo, given: Given = NOTHING, **ranges) -> list[dict[str, tuple[int, ...]]]:
    runs = candidates(contents(*tensors), Ranges(**ranges), given, 0)
    return [{name: tuple(values.shape) for name, values in run.inputs.items()} for run in runs]


def drawn_values(run: TrialRun, name: str) -> np.ndarray:
    draw = run.inputs[name]
    assert isinstance(draw, Draw)
    return draw.values


@pytest.mark.parametrize("tensors", [AUDIO, UNNAMED], ids=["named", "unnamed"])
def test_dimensions_of_one_name_share_a_size(tensors):
    found = shapes(*tensors)
    assert all(each["h"] == (2, each["input"][0], 64) for each in found)
    pairs = [each["input"] for each in found]
    assert pairs[:2] == [(1, 16), (3, 3)] and len(set(pairs)) == len(pairs)
    assert set(itertools.product(BATCHES, LADDER)) <= set(pairs) and (64, 64) in pairs


def test_the_name_of_a_dimension_may_be_a_sum():
    names = {"a": "past", "b": "new", "both": "past + new + 1"}
    for each in shapes(*(TensorInfo(name, "float32", (None,), symbols=(symbol,)) for name, symbol in names.items())):
        assert each["both"][0] == each["a"][0] + each["b"][0] + 1


def test_a_size_of_minus_one_is_free_too():
    assert [each["x"] for each in shapes(TensorInfo("x", "float32", (-1, 3, None)))][:2] == [(1, 3, 16), (3, 3, 3)]


def test_no_shape_is_huge_but_the_first():
    image = TensorInfo("x", "float32", (None, 3, None, None))
    sizes = [int(np.prod(each["x"])) for each in shapes(image)]
    assert max(sizes) <= ELEMENTS and max(sizes) > ELEMENTS // 4
    assert shapes(TensorInfo("x", "float32", (None, ELEMENTS))) == [{"x": (1, ELEMENTS)}]


def test_fixed_shapes_are_run_twice_with_other_values():
    runs = candidates(contents(TensorInfo("x", "float32", (2, 3))), Ranges(), Given(), 0)
    one, other = (drawn_values(run, "x") for run in runs)
    assert not np.array_equal(one, other)


def test_scalars_take_each_value_that_tells_cases_apart():
    tensors = (*AUDIO, TensorInfo("cached", "bool", (1,)))
    runs = candidates(contents(*tensors), Ranges(numbers={("s", "sr"): (16000, 8000)}), Given(), 0)
    cases = [run.case for run in runs]
    expected = ["sr = 16000, cached = 0", "sr = 16000, cached = 1", "sr = 8000, cached = 0", "sr = 8000, cached = 1"]
    assert cases[:4] == expected and cases[4:8] == expected
    assert drawn_values(runs[3], "sr") == 8000 and drawn_values(runs[3], "cached").tolist() == [True]
    assert tried_text(runs[:3]) == "input 1x16; sr scalar; h 2x1x64; cached 1; with " + " or ".join(expected[:3])


def test_many_scalars_have_few_cases():
    flags = (TensorInfo(f"flag{i}", "bool", ()) for i in range(40))
    assert len({run.case for run in candidates(contents(*flags), Ranges(), Given(), 0)}) == CASES


def test_strings_are_short_words():
    (run, *_) = candidates(contents(TensorInfo("text", "string", (20,))), Ranges(), Given(), 0)
    words = drawn_values(run, "text").tolist()
    assert len({*words}) > 1 and all(isinstance(word, str) for word in words)


def test_a_given_shape_binds_its_names():
    found = shapes(*AUDIO, given=Given({"input": (4, 480)}))
    assert found == 2 * [{"input": (4, 480), "sr": (), "h": (2, 4, 64)}]
    found = shapes(*AUDIO, given=Given({"h": (2, 5, 64)}))
    assert {each["input"][0] for each in found} == {5} and {each["input"][1] for each in found} >= {*LADDER}


def test_given_values_are_used_as_they_are():
    x, h, sr = np.ones((2, 7), np.float32), np.ones((2, 2, 64), np.float32), np.array(3)
    (run,) = candidates(contents(*AUDIO), Ranges(), Given(data={"input": x, "h": h, "sr": sr}), 0)
    assert run.inputs["input"] is x and run.inputs["sr"] is sr
    runs = candidates(contents(*AUDIO), Ranges(), Given(data={"input": x}), 0)
    assert len(runs) == 2 and runs[0].inputs["h"].shape == (2, 2, 64) and runs[1].inputs["input"] is x


WRONG = {
    "name": (Given({"audio": (1,)}), "--shape audio: the file has no such input, only h, input, sr"),
    "data name": (Given(data={"audio": np.ones(1)}), "--data audio: the file has no such input"),
    "rank": (Given({"input": (1, 2, 3)}), "--shape input: got [1, 2, 3], must be [batch, sequence]"),
    "scalar": (Given({"sr": (1,)}), "--shape sr: got [1], must be []"),
    "fixed": (Given({"h": (3, 1, 64)}), "--shape h: got [3, 1, 64], must be [2, batch, 64]"),
    "contradiction": (Given({"input": (1, 16), "h": (2, 3, 64)}), "h: batch is 3, but 1 in another input"),
    "type": (Given(data={"input": np.ones((1, 1))}), "--data input: has float64 values, must have float32"),
    "data shape": (Given(data={"input": np.ones(1, np.float32)}), "--data input: got [1], must be"),
    "both": (Given({"sr": ()}, {"sr": np.array(1)}), "--shape sr: has the shape of its values in --data"),
}


@pytest.mark.parametrize(("given", "message"), WRONG.values(), ids=WRONG)
def test_what_does_not_fit_the_file_is_refused(given, message):
    with pytest.raises(InputError) as caught:
        require_fits(contents(*AUDIO), given)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_shapes_are_read_from_text():
    assert parse_shapes(["x=1x16", "a=b:0=3,4,5", "n=7"]) == {"x": (1, 16), "a=b:0": (3, 4, 5), "n": (7,)}


@pytest.mark.parametrize("text", ["x", "=1x2", "x=", "x=1xy", "x=-1x2", "x=1x", "x=1.5", "x=9999999999"])
def test_other_text_is_refused(text):
    with pytest.raises(InputError, match="must be NAME=1x16"):
        parse_shapes([text])
    with pytest.raises(InputError, match="has a shape already"):
        parse_shapes(["x=1", "x=2"])


def test_data_are_read_by_name_or_for_the_only_input(tmp_path):
    np.save(tmp_path / "x.npy", np.ones(3))
    np.savez(tmp_path / "x.npz", input=np.ones(3), sr=np.array(2))
    assert list(read_data(tmp_path / "x.npy", contents(AUDIO[0]))) == ["input"]
    np.save(tmp_path / "swapped.npy", np.arange(3, dtype=">f4"))
    swapped = read_data(tmp_path / "swapped.npy", contents(AUDIO[0]))["input"]
    assert swapped.dtype.isnative and swapped.tolist() == [0, 1, 2]
    assert {name: each.shape for name, each in read_data(tmp_path / "x.npz", contents()).items()} == {"input": (3,), "sr": ()}


def test_damaged_data_are_refused(tmp_path):
    files = {"none.npy": None, "text.npy": b"text", "cut.npz": b"PK\x03\x04", "empty.npy": b""}
    for name, data in files.items():
        if data is not None:
            (tmp_path / name).write_bytes(data)
    np.save(tmp_path / "pickled.npy", np.array([{}], object), allow_pickle=True)
    np.save(tmp_path / "one.npy", np.ones(3))
    with (tmp_path / "huge.npy").open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": (1 << 50,)})
    with zipfile.ZipFile(tmp_path / "huge.npz", "w") as archive:
        archive.write(tmp_path / "huge.npy", "x.npy")
    for name in (*files, "pickled.npy", "one.npy", "huge.npy", "huge.npz"):
        with pytest.raises(InputError, match=f"--data .*{name}: ") as caught:
            read_data(tmp_path / name, contents(*AUDIO))
        assert "\n" not in str(caught.value)
    with zipfile.ZipFile(tmp_path / "text.npz", "w") as archive:
        archive.writestr("input", "text")
    with pytest.raises(InputError, match=r"--data .*text\.npz: input is not an array; a \.npz holds \.npy files only"):
        read_data(tmp_path / "text.npz", contents(*AUDIO))
