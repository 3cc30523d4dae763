"""Sources that cannot be used: one line that names the file, what it has and what would be right."""

import gzip
import re
import struct
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from tiedae.base.errors import DataError, FormatError, InputError, RecipeError
from tiedae.cli import main
from tiedae.config.config import DataConfig
from tiedae.data.data_sets import VARIABLE
from tiedae.pipeline.sources import load_dataset

from ..conftest import smallest_recipe
from ..pipeline.test_sources import LABELS, PIXELS, idx, write_npy, write_npz_of_one


def test_a_missing_data_set_says_where_it_comes_from(monkeypatch, tmp_path):
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(DataError) as raised:
        load_dataset(DataConfig("fashion-mnist"), "sigmoid")
    for part in (VARIABLE, "train-images-idx3-ubyte.gz", "zalandoresearch/fashion-mnist", "MIT"):
        assert part in str(raised.value)


def damaged_npy(folder):
    whole = write_npy(folder).read_bytes()
    (folder / "x.npy").write_bytes(whole[:-1])
    return folder / "x.npy"


def content(name, data):
    def write(folder):
        (folder / name).write_bytes(data)
        return folder / name

    return write


def array(values):
    def write(folder):
        np.save(folder / "x.npy", values)
        return folder / "x.npy"

    return write


def objects(folder):
    np.save(folder / "x.npy", np.array([[1], [1, 2]], object), allow_pickle=True)
    return folder / "x.npy"


def objects_npz(folder):
    np.savez(folder / "x.npz", x=np.array([[1], [1, 2]], object))
    return folder / "x.npz"


def npz(**arrays):
    def write(folder):
        np.savez(folder / "x.npz", **arrays)
        return folder / "x.npz"

    return write


def two_sizes(folder):
    Image.fromarray(np.zeros((4, 5), np.uint8)).save(folder / "a.png")
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(folder / "b.png")
    return folder


def gray_and_color(folder):
    Image.fromarray(np.zeros((4, 5), np.uint8)).save(folder / "a.png")
    Image.fromarray(np.zeros((4, 5, 3), np.uint8)).save(folder / "b.png")
    return folder


def image(mode, color=0, **options):
    def write(folder):
        Image.new(mode, (5, 4), color).save(folder / "a.png", **options)
        return folder

    return write


def gray_of_8_and_16_bits(folder):
    Image.fromarray(np.zeros((4, 5), np.uint8)).save(folder / "a.png")
    Image.fromarray(np.zeros((4, 5), np.uint16)).save(folder / "b.png")
    return folder


def deep_color(folder):
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(bytes(7))), (b"IEND", b"")]
    parts = [struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks]
    (folder / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return folder


def half_image(folder):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)).save(folder / "a.png")
    (folder / "a.png").write_bytes((folder / "a.png").read_bytes()[:2000])
    return folder


def npy(header):
    return content("x.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(64))


def patched_npz(at, value):
    """The .npz of one array, with two bytes replaced at an offset of its local and of its central header."""

    def write(folder):
        data = bytearray(write_npz_of_one(folder).read_bytes())
        for place in (at, data.index(b"PK\x01\x02") + at + 2):
            data[place : place + 2] = struct.pack("<H", value)
        (folder / "x.npz").write_bytes(data)
        return folder / "x.npz"

    return write


def text_npz(folder):
    with zipfile.ZipFile(folder / "x.npz", "w") as archive:
        archive.writestr("notes.txt", "not an array")
    return folder / "x.npz"


BAD_SOURCES = [
    (npy(b"{'descr': '<f4', 'shape': (3, 2"), FormatError, "x.npy: its header is damaged"),
    (npy(b"{[]: 1}"), FormatError, "x.npy: its header is damaged"),
    (npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (-2, 2)}"), FormatError, r"x.npy: its header .*\(shape \[-2, 2\]"),
    (
        npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (0, 99999999999999999999)}"),
        FormatError,
        "x.npy: cannot be read",
    ),
    (patched_npz(6, 1), FormatError, "x.npz: is damaged or not a .npz file .*encrypted"),
    (patched_npz(8, 99), FormatError, "x.npz: is damaged or not a .npz file .*compression method"),
    (text_npz, FormatError, "x.npz: notes.txt is not an array"),
    (content("x.csv", b"1.0,,3.0\n4,5,6\n7,8,9\n"), DataError, "x.csv: line 1, column 2: '' is not a number"),
    (content("x.csv", b"1.0,oops,3.0\n4,5,6\n7,8,9\n"), DataError, "x.csv: line 1, column 2: 'oops' is not a number"),
    (content("x.csv", b"a,b\n1,x" + b"9" * 140_000 + b"\n"), FormatError, "x.csv: is damaged or not a table .*field larger"),
    (content("x.csv", b"9" * 140_000 + b",2\n"), FormatError, "x.csv: is damaged or not a table .*field larger"),
    (
        content("x.csv.gz", b""),
        DataError,
        "x.csv.gz: unknown kind; must be .npy, .npz, .csv, .wav, .idx, .idx.gz or a folder",
    ),
    (content("x.npy", b""), FormatError, "x.npy: is not a .npy file"),
    (content("x.npy", b"PK\x03\x04 something else"), FormatError, "x.npy: is not a .npy file"),
    (content("x.npy", b"\x93NUMPY\x01\x00\x10\x00garbage"), FormatError, "x.npy: its header is damaged"),
    (damaged_npy, FormatError, r"x.npy: is truncated: 367 bytes, must be 368 for shape \[20, 4, 3\] of uint8"),
    (objects, DataError, "x.npy: holds Python objects"),
    (array(np.empty((0, 3))), DataError, "x.npy: is empty"),
    (array(np.zeros((1, 3))), DataError, "x.npy: holds 1 sample, must be 2 or more"),
    (array(np.zeros(50)), DataError, r"x.npy: has shape \[50\], .*`window` in \[data\]"),
    (array(np.array([["a"], ["b"]])), DataError, "x.npy: holds values of type <U1, must be real numbers"),
    (array(np.array([[0, np.nan], [1, 2]])), DataError, "x.npy: sample 0, value 1 is nan, must be finite"),
    (
        array(PIXELS.astype(np.longdouble)),
        DataError,
        r"x.npy: holds values of type float128, must be of at most 64 bits; .*astype\(np.float64\)",
    ),
    (array(np.array([[0, 3], [-np.inf, 2]], np.float16)), DataError, "x.npy: sample 1, value 0 is -inf, must be finite"),
    (content("x.npz", b"PK\x03\x04 cut short"), FormatError, "x.npz: is damaged or not a .npz file"),
    (content("x.npz", b"\0" * 50), FormatError, "x.npz: is damaged or not a .npz file .*not a zip file"),
    (objects_npz, DataError, "x.npz: .*holds Python objects .*must be an array of numbers"),
    (npz(a=PIXELS, b=PIXELS), DataError, "x.npz: holds the arrays a, b; must be one array, or x"),
    (
        npz(x=PIXELS, labels=LABELS, ids=LABELS),
        DataError,
        "x.npz: holds ids beside x; must be of x, labels, label, y, groups, or left",
    ),
    (npz(x=PIXELS, x_test=PIXELS), DataError, "x.npz: holds x_test beside x; must be of"),
    (npz(x_train=PIXELS, ids=LABELS), DataError, "x.npz: holds ids beside x_train; must be of x_train, x_test, labels_train"),
    (npz(X=PIXELS, x=PIXELS), DataError, "x.npz: holds X, x; must be of different names in lower case"),
    (
        npz(x_train=PIXELS[:8], x_test=PIXELS[8:], labels=LABELS[:5]),
        DataError,
        "x.npz: holds 5 labels beside 8 in x_train and 12 in x_test; must be as many as one of these, or as many as both",
    ),
    (
        npz(x_train=PIXELS[:10], x_test=PIXELS[10:], y=LABELS[:10]),
        DataError,
        "x.npz: holds 10 y beside 10 in x_train and 10 in x_test; .* name them labels_train or labels_test",
    ),
    (npz(x_train=PIXELS, y=LABELS, y_train=LABELS), DataError, "x.npz: holds y, y_train; must be one array of labels, or one"),
    (npz(x_train=PIXELS, y_test=LABELS), DataError, "x.npz: holds y_test beside x_train; must be of"),
    (npz(x=PIXELS, y=LABELS, label=LABELS), DataError, "x.npz: holds label and y; must be one array of labels"),
    (npz(), DataError, "x.npz: holds the arrays none; must be one array, or x"),
    (
        npz(x_train=PIXELS, x_test=PIXELS[:, :2]),
        DataError,
        r"x.npz, test set: a test sample is uint8 \[2, 3\], must be uint8 \[4, 3\]",
    ),
    (
        npz(x_train=PIXELS, x_test=PIXELS / 255),
        DataError,
        r"x.npz, test set: a test sample is float64 \[4, 3\], must be uint8 \[4, 3\]",
    ),
    (npz(x=PIXELS, labels=LABELS[:5]), DataError, r"x.npz: has labels of shape \[5\], must be \[20\]"),
    (content("x.csv", b""), DataError, "x.csv: holds no row of numbers"),
    (content("x.csv", b"a,b\n"), DataError, "x.csv: holds no row of numbers"),
    (content("x.csv", b"1,2\n3,4\n5\n"), DataError, "x.csv: line 3 has 1 values, line 1 has 2; must be the same number"),
    (content("x.csv", b"a,b,c\n3,4\n5,6\n"), DataError, "x.csv: line 1 has 3 values, line 2 has 2"),
    (content("x.csv", b"a,b\n3,4\n5,x\n"), DataError, r"x.csv: line 3, column 2 \(b\): 'x' is not a number"),
    (content("x.csv", b"a,label\n3,x\n5,\n"), DataError, r"x.csv: line 3, column 2 \(label\) is empty, must be a label"),
    (content("x.csv", b"a,label\n3,x\nb,y\n"), DataError, r"x.csv: line 3, column 1 \(a\): 'b' is not a number"),
    (content("x.csv", b"3,4\n\n5,\n"), DataError, "x.csv: line 3, column 2: '' is not a number"),
    (content("x.csv", b"1,2\n3,nan\n"), DataError, "x.csv: sample 1, value 1 is nan"),
    (content("x.csv", b"\xff\xfe\x00"), FormatError, "x.csv: is not text in UTF-8"),
    (content("x.idx", b"\x89PNG"), FormatError, "x.idx: is not an idx file"),
    (content("x.idx", idx(PIXELS)[:-1]), FormatError, r"x.idx: holds 239 bytes of data, must be 240 for shape \[20, 4, 3\]"),
    (content("x.idx", idx(PIXELS)[:9]), FormatError, "x.idx: .*damaged"),
    (content("x.idx.gz", idx(PIXELS)), FormatError, "x.idx.gz: is damaged or truncated"),
    (content("x.idx.gz", gzip.compress(idx(PIXELS))[:-9]), FormatError, "x.idx.gz: is damaged or truncated"),
    (content("x.idx.gz", gzip.compress(idx(PIXELS)[:-9])), FormatError, "x.idx.gz: holds 231 bytes of data, must be 240"),
    (content("x.parquet", b"PAR1"), DataError, "x.parquet: unknown kind; must be .npy, .npz, .csv, .wav, .idx"),
    (
        lambda folder: folder / "nothing.npy",
        DataError,
        "nothing.npy: no such file or folder, nor a data set known by name; known .*: fashion, ecg",
    ),
    (lambda folder: folder, DataError, "holds no image"),
    (content("a.png", b"not a picture"), FormatError, "a.png: is not an image or is damaged"),
    (half_image, FormatError, "a.png: is not an image or is damaged"),
    (two_sizes, DataError, r"2 images; sizes: 1 5×4 \(a.png\), 1 5×5 \(b.png\); all must be of one size and kind"),
    (gray_and_color, DataError, r"2 images; modes: 1 L \(a.png\), 1 RGB \(b.png\); all must"),
    (gray_of_8_and_16_bits, DataError, r"2 images; modes: 1 L \(a.png\), 1 I;16 \(b.png\); all must be .* saved with 8 bits"),
    (image("RGBA"), DataError, "a.png: has transparent pixels, .*; flatten the images onto a background, or save"),
    (image("LA"), DataError, "a.png: has transparent pixels"),
    (image("P", transparency=0), DataError, "a.png: has transparent pixels"),
    (image("I;16", transparency=0), DataError, "a.png: has transparent pixels"),
    (deep_color, DataError, "a.png: has 16 bits per color, must be 8; convert them, or save"),
    (array(np.full((9, 3), 7.5)), DataError, "x.npy: every value to train on is 7.5; there is nothing to learn, must vary"),
]


@pytest.mark.parametrize(("write", "error", "text"), BAD_SOURCES)
def test_a_source_that_cannot_be_used_is_one_line_and_leaves_nothing(tmp_path, capsys, write, error, text):
    (tmp_path / "data").mkdir()
    path = write(tmp_path / "data")
    source = str(path.parent if path.suffix == ".png" else path)
    with pytest.raises(error, match=text):
        load_dataset(DataConfig(source), "sigmoid")
    recipe, out = tmp_path / "small.toml", tmp_path / "out"
    recipe.write_text(smallest_recipe(source))
    assert main(["run", str(recipe), "--out", str(out)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match(f"tiedae: {tmp_path}.*{text}", line)
    assert not out.exists()


def test_too_few_samples_for_the_splits(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((2, 3), np.float32))
    with pytest.raises(DataError, match=r"x\.npy: holds 2 samples; with 2 split off none is left to train on"):
        load_dataset(DataConfig("x.npy", test=0.1, validation=0.1), "sigmoid", base=tmp_path)


def test_the_home_folder_of_nobody_is_named(tmp_path):
    with pytest.raises(InputError, match=r"^~nosuchuser/x\.npy: no home folder is known for ~nosuchuser; write the path"):
        load_dataset(DataConfig("~nosuchuser/x.npy"), "sigmoid", base=tmp_path)


def test_byte_scaling_names_the_source_whose_values_are_no_bytes(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(40.0).reshape(10, 4) - 1)
    with pytest.raises(DataError, match=r'^x\.npy: has values from -1 to .*; scaling "byte" .* must lie in 0…255'):
        load_dataset(DataConfig("x.npy", scaling="byte", split="tail"), "sigmoid", base=tmp_path)


def test_a_window_is_for_records_only(tmp_path):
    write_npy(tmp_path)
    with pytest.raises(
        DataError, match=r"x\.npy: has shape \[20, 4, 3\], windows of 4 time steps; `window` in \[data\] is 5; must be left out"
    ):
        load_dataset(DataConfig("x.npy", window=5), "sigmoid", base=tmp_path)


@pytest.mark.parametrize("shape", [(600,), (600, 1)])
def test_a_window_longer_than_the_record_says_so(tmp_path, shape):
    np.save(tmp_path / "x.npy", np.arange(600.0).reshape(shape))
    with pytest.raises(
        DataError, match=r"x\.npy: `window` in \[data\] is 601, longer than the record of 600 time steps; must be"
    ):
        load_dataset(DataConfig("x.npy", window=601), "sigmoid", base=tmp_path)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"window": 10, "stride": 4}, "data.stride: got 4, must be a divisor of the window of 10 time steps"),
        ({"window": 10, "stride": 20}, "data.stride: got 20, must be a divisor of the window of 10 time steps"),
        ({"stride": 4}, "data.stride: got 4, must be 0 unless `window` cuts a record"),
        ({"window": 10, "stride": 5, "split": "random"}, "data.split: got 'random', must be tail or auto beside stride"),
        ({"window": 10, "stride": 5, "clean": "x.npy"}, "data.clean: got 'x.npy', must be left out beside stride"),
    ],
)
def test_a_stride_is_for_windows_in_order(tmp_path, options, text):
    np.save(tmp_path / "x.npy", np.arange(600.0) if "window" in options else np.arange(600.0).reshape(60, 10))
    with pytest.raises(RecipeError, match=text):
        load_dataset(DataConfig("x.npy", **options), "sigmoid", base=tmp_path)


def test_values_that_vary_in_the_test_part_alone_teach_nothing(tmp_path):
    np.save(tmp_path / "x.npy", np.array([[0], [0], [0], [9]], np.uint8))
    with pytest.raises(DataError, match=r"x\.npy: every value to train on is 0;"):
        load_dataset(DataConfig("x.npy", split="tail", test=0.25), "sigmoid", base=tmp_path)


TABLE = "temperature,humidity,class\n" + "\n".join(f"{i},{2 * i},{i % 3}" for i in range(9))


@pytest.mark.parametrize(
    ("name", "text", "options", "error"),
    [
        (
            "t.csv",
            TABLE,
            {"columns": ("temprature",)},
            "no column 'temprature', which `columns` in .* names; did you mean temperature",
        ),
        ("t.csv", TABLE, {"columns": ("Humidity",)}, "no column 'Humidity', .*; did you mean humidity?"),
        ("t.csv", TABLE, {"drop": ("zzz",)}, "no column 'zzz', which `drop` .*; there are temperature, humidity, class"),
        ("t.csv", TABLE, {"label": "clas"}, "no column 'clas', which `label` .*; did you mean class"),
        ("t.csv", TABLE, {"drop": ("temperature", "humidity")}, "no column of 3 is left to train on"),
        (
            "t.csv",
            "a,y,label\n1,2,3\n4,5,6",
            {},
            'y and label are named like labels; name one as `label` in .*, or `label = ""`',
        ),
        ("t.csv", "a,b,a\n1,2,3\n4,5,6", {"columns": ("a",)}, "2 columns are named 'a'; must be one for `columns`"),
        ("t.csv", "a,b,a\n1,2,3\n4,5,6", {}, "2 columns are named 'a'; must be each name once"),
        ("t.csv", ",a,b\n0,2,3\n1,5,6", {}, r"line 1, column 1 has no name .*; must have a name, .* or be dropped \(`drop = "),
        ("t.csv", "1,2\n3,4\n5,6", {"columns": ("a",)}, "line 1 is not a heading, which `columns` in .* requires"),
        ("t.csv", "1,2\n3,4\n5,6", {"label": "a"}, "line 1 is not a heading, which `label` in .* requires"),
        ("t.csv", "a,day\n1,2020-01-01\n2,2020-01-02", {}, r"line 2, column 2 \(day\): '2020-01-01' is not a number"),
        ("t.csv", "a,day\n1,x\n2,x,3", {"drop": ("day",)}, "line 3 has 3 values, line 1 has 2; must be the same number"),
        (
            "t.csv",
            TABLE,
            {"resize": (4, 4)},
            r"`resize` in \[data\] is for a folder of images; got \[4, 4\], must be left out",
        ),
        ("t.csv", TABLE, {"convert": "gray"}, "`convert` in .* is for a folder of images; got 'gray', must be left out"),
        ("x.npy", None, {"columns": ("a",)}, r"`columns` in \[data\] is for a .csv file; got \['a'\], must be left out"),
        ("x.npy", None, {"drop": ("a",)}, "`drop` in .* is for a .csv file"),
        ("x.npy", None, {"label": ""}, "`label` in .* is for a .csv file; got '', must be left out"),
        ("pictures", None, {"label": "a"}, "`label` in .* is for a .csv file"),
        ("ecg", None, {"columns": ("a",)}, "ecg: `columns` in .* is for a .csv file"),
        ("ecg", None, {"resize": (4, 4)}, "ecg: `resize` in .* is for a folder of images"),
    ],
)
def test_a_choice_that_a_source_does_not_have_is_named(tmp_path, name, text, options, error):
    if name == "x.npy":
        write_npy(tmp_path)
    elif name == "pictures":
        (tmp_path / name).mkdir()
        Image.new("L", (4, 4)).save(tmp_path / name / "a.png")
    elif text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=error):
        load_dataset(DataConfig(name, **options), "sigmoid", base=tmp_path)


def test_pictures_that_differ_name_the_key_that_makes_them_alike(tmp_path):
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    for mode, size, remedy in (
        ("RGB", (4, 4), r'`convert = "rgb"` \(or "gray"\)'),
        ("L", (5, 4), "`patch = 16` .* or `resize"),
    ):
        Image.new(mode, size).save(tmp_path / "b.png")
        with pytest.raises(DataError, match=rf"all must be of one size and kind: in \[data\] {remedy}"):
            load_dataset(DataConfig(str(tmp_path)), "sigmoid")
