import dataclasses
import gzip
import re
import struct
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image
from tiedae.cli import main
from tiedae.compress.config import DataConfig
from tiedae.compress.errors import DataError, FormatError
from tiedae.readers import MAPPED_FROM, read
from tiedae.sources import DATA_SETS, VARIABLE, load_splits

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 4, 3), np.uint8)
LABELS = np.arange(20, dtype=np.uint8) % 3


def idx(values, code=0x08):
    return struct.pack(f">BBBB{values.ndim}I", 0, 0, code, values.ndim, *values.shape) + values.tobytes()


def write_npy(folder):
    np.save(folder / "x.npy", PIXELS)
    return folder / "x.npy"


def write_fortran_npy(folder):
    np.save(folder / "x.npy", np.asfortranarray(PIXELS))
    return folder / "x.npy"


def write_npz(folder):
    np.savez(folder / "x.npz", x=PIXELS, labels=LABELS)
    return folder / "x.npz"


def write_npz_of_one(folder):
    np.savez_compressed(folder / "x.npz", anything=PIXELS)
    return folder / "x.npz"


def write_csv(folder):
    np.savetxt(folder / "x.csv", PIXELS.reshape(20, -1), fmt="%d", delimiter=",")
    return folder / "x.csv"


def write_csv_with_heading_and_labels(folder):
    table = np.column_stack([LABELS, PIXELS.reshape(20, -1)])
    heading = ";".join(["Label", *(f"pixel{i}" for i in range(12))])
    np.savetxt(folder / "x.csv", table, fmt="%d", delimiter=";", header=heading, comments="\ufeff", encoding="utf-8")
    return folder / "x.csv"


def write_csv_with_text_labels(folder):
    rows = [
        f"{','.join(map(str, row))}, {['ant', 'bee', 'cat'][label]}"
        for row, label in zip(PIXELS.reshape(20, -1), LABELS, strict=True)
    ]
    (folder / "x.csv").write_text("\n".join([",".join([*(f"pixel{i}" for i in range(12)), "label"]), *rows]))
    return folder / "x.csv"


def write_idx(folder):
    (folder / "t-images-idx3-ubyte").write_bytes(idx(PIXELS))
    (folder / "t-labels-idx1-ubyte").write_bytes(idx(LABELS))
    return folder / "t-images-idx3-ubyte"


def write_idx_gz(folder):
    (folder / "x.idx.gz").write_bytes(gzip.compress(idx(PIXELS.astype(">i2"), 0x0B)))
    return folder / "x.idx.gz"


def write_images(folder):
    for i, picture in enumerate(PIXELS):
        Image.fromarray(picture).save(folder / f"{i:02}.png")
    (folder / "notes.txt").write_text("not a picture")
    return folder


def write_labelled_images(folder):
    for i in np.argsort(LABELS, kind="stable"):
        (folder / str(LABELS[i])).mkdir(exist_ok=True)
        Image.fromarray(PIXELS[i]).save(folder / str(LABELS[i]) / f"{i:02}.bmp")
    return folder


@pytest.mark.parametrize(
    ("write", "labelled"),
    [
        (write_npy, False),
        (write_fortran_npy, False),
        (write_npz, True),
        (write_npz_of_one, False),
        (write_csv, False),
        (write_csv_with_heading_and_labels, True),
        (write_csv_with_text_labels, True),
        (write_idx, True),
        (write_idx_gz, False),
        (write_images, False),
        (write_labelled_images, True),
    ],
)
def test_every_kind_of_source_gives_the_same_samples(tmp_path, write, labelled):
    path = write(tmp_path)
    arrays = read(path)
    order = np.argsort(LABELS, kind="stable") if write is write_labelled_images else np.arange(20)
    np.testing.assert_array_equal(arrays.values.reshape(20, 12), PIXELS.reshape(20, 12)[order])
    assert (arrays.labels is not None) == labelled
    if arrays.labels is not None:
        np.testing.assert_array_equal(arrays.labels, LABELS[order])
    splits = load_splits(DataConfig(str(path.relative_to(tmp_path))), "sigmoid", base=tmp_path)
    assert (len(splits.train), len(splits.test), splits.inputs) == (18, 2, 12)


def test_color_images_keep_their_shape(tmp_path):
    for name in "ab":
        Image.fromarray(np.zeros((4, 5, 3), np.uint8)).save(tmp_path / f"{name}.png")
    assert read(tmp_path).values.shape == (2, 4, 5, 3)


DEEP = np.random.default_rng(0).integers(0, 1 << 16, (4, 5, 6), np.uint16)


@pytest.mark.parametrize(
    ("values", "suffix", "dtype"),
    [(DEEP, "png", np.uint16), (DEEP, "tif", np.uint16), (DEEP, "pgm", np.int32), (DEEP / np.float32(7), "tif", np.float32)],
)
def test_gray_images_of_more_than_8_bits_keep_their_values(tmp_path, values, suffix, dtype):
    for i, picture in enumerate(values):
        Image.fromarray(picture).save(tmp_path / f"{i}.{suffix}")
    arrays = read(tmp_path)
    assert arrays.values.dtype == dtype
    np.testing.assert_array_equal(arrays.values, values)
    train = load_splits(DataConfig(str(tmp_path), test=0.25), "sigmoid").train
    assert (train.dtype, train.shape, train.scaling.rule) == (np.float32, (5, 6), "minmax")
    np.testing.assert_array_equal(train.take(slice(None)), values.reshape(4, -1)[train.rows])


@pytest.mark.parametrize(
    ("mode", "shape"), [("1", (4, 3)), ("P", (4, 3, 3)), ("LA", (4, 3)), ("RGBA", (4, 3, 3)), ("CMYK", (4, 3, 3))]
)
def test_other_modes_become_gray_or_rgb_where_nothing_is_lost(tmp_path, mode, shape):
    for i, picture in enumerate(PIXELS):
        Image.fromarray(picture).convert(mode).save(tmp_path / f"{i:02}.{'tif' if mode == 'CMYK' else 'png'}")
    values = read(tmp_path).values
    assert (values.dtype, values.shape[1:]) == (np.uint8, shape)
    expected = np.stack([np.asarray(Image.fromarray(picture).convert(mode).convert("RGB")) for picture in PIXELS])
    np.testing.assert_array_equal(values, expected[..., 0] if len(shape) == 2 else expected)


@pytest.mark.parametrize("validation", [0.0, 0.2])
def test_splits_are_disjoint_complete_and_fixed_by_the_seed(tmp_path, validation):
    write_npz(tmp_path)
    config = DataConfig("x.npz", test=0.25, validation=validation)
    splits, again = (load_splits(config, "sigmoid", base=tmp_path) for _ in range(2))
    parts = [part for part in (splits.train, splits.validation, splits.test) if part is not None]
    assert [len(part) for part in parts] == ([15, 5] if validation == 0 else [11, 4, 5])
    assert all(part.rows is not None and (np.diff(np.asarray(part.rows)) > 0).all() for part in parts)
    every = np.concatenate([part.take(slice(None)) for part in parts])
    assert sorted(map(tuple, every)) == sorted(map(tuple, PIXELS.reshape(20, -1)))
    assert splits.train.sha256 == again.train.sha256
    assert splits.train.sha256 != load_splits(dataclasses.replace(config, seed=1), "sigmoid", base=tmp_path).train.sha256
    pixels, labels = splits.test.take(slice(None)), splits.test.labels
    assert labels is not None
    rows = [np.flatnonzero((PIXELS.reshape(20, -1) == pixel).all(axis=1))[0] for pixel in pixels]
    np.testing.assert_array_equal(labels, LABELS[rows])


def test_the_scaling_is_fitted_on_training_samples_alone(tmp_path):
    np.save(tmp_path / "x.npy", np.array([[0.0], [10.0], [5.0], [99.0]]))
    splits = load_splits(DataConfig("x.npy", split="tail", test=0.25), "sigmoid", base=tmp_path)
    assert splits.scaling.to_json() == {"rule": "minmax", "offset": 0.0, "scale": 10.0}
    assert splits.train.scaling == splits.test.scaling == splits.scaling


def test_a_record_is_cut_and_its_end_is_the_test(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(103, dtype=np.float32))
    splits = load_splits(DataConfig("x.npy", window=10, test=0.2, validation=0.1), "linear", base=tmp_path)
    assert splits.validation is not None
    assert splits.train.take(slice(None)).ravel().tolist() == list(range(70))
    assert splits.validation.take(slice(None)).ravel().tolist() == list(range(70, 80))
    assert splits.test.take(slice(None)).ravel().tolist() == list(range(80, 100))


def test_a_test_set_of_its_own_is_kept(tmp_path):
    np.savez(tmp_path / "x.npz", x_train=PIXELS, y_train=LABELS, x_test=PIXELS[:5])
    splits = load_splits(DataConfig("x.npz"), "sigmoid", base=tmp_path)
    assert (len(splits.train), len(splits.test), splits.validation) == (20, 5, None)


def test_large_arrays_are_mapped_and_small_ones_loaded(tmp_path):
    np.lib.format.open_memmap(tmp_path / "large.npy", "w+", np.uint8, (MAPPED_FROM // 1024, 1024))[::2, 5] = 1
    assert isinstance(read(tmp_path / "large.npy").values, np.memmap)
    assert not isinstance(read(write_npy(tmp_path)).values, np.memmap)
    assert load_splits(DataConfig("large.npy"), "sigmoid", base=tmp_path).train.block == 1024


@pytest.mark.parametrize(
    ("name", "train", "test", "inputs", "dtype"),
    [("fashion", 9000, 1000, 784, np.uint8), ("ecg", 337, 84, 256, np.float32)],
)
def test_the_data_that_ships(monkeypatch, name, train, test, inputs, dtype):
    monkeypatch.delenv(VARIABLE, raising=False)
    splits = load_splits(DataConfig(name, test=0.1 if name == "fashion" else 0.2), "sigmoid")
    assert (len(splits.train), len(splits.test), splits.inputs, splits.train.dtype) == (train, test, inputs, dtype)


def test_the_full_data_set_is_found_through_the_environment(monkeypatch):
    if DATA_SETS["fashion-mnist"].find() is None:
        pytest.skip(f"{VARIABLE} names no folder with fashion-mnist")
    splits = load_splits(DataConfig("fashion-mnist"), "sigmoid")
    assert (len(splits.train), len(splits.test), splits.train.shape) == (60_000, 10_000, (28, 28))
    assert splits.test.labels is not None
    assert np.bincount(splits.test.labels).tolist() == [1000] * 10


def test_a_missing_data_set_says_where_it_comes_from(monkeypatch, tmp_path):
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(DataError) as raised:
        load_splits(DataConfig("fashion-mnist"), "sigmoid")
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


def many_arrays(folder):
    np.savez(folder / "x.npz", a=PIXELS, b=PIXELS)
    return folder / "x.npz"


def unlike_test_set(folder):
    np.savez(folder / "x.npz", x_train=PIXELS, x_test=PIXELS[:, :2])
    return folder / "x.npz"


def short_labels(folder):
    np.savez(folder / "x.npz", x=PIXELS, labels=LABELS[:5])
    return folder / "x.npz"


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
    (text_npz, FormatError, "x.npz: notes.txt is no array"),
    (content("x.csv", b"1.0,,3.0\n4,5,6\n7,8,9\n"), DataError, "x.csv: line 1, column 2: '' is not a number"),
    (content("x.csv", b"1.0,oops,3.0\n4,5,6\n7,8,9\n"), DataError, "x.csv: line 1, column 2: 'oops' is not a number"),
    (content("x.csv", b"a,b\n1,x" + b"9" * 140_000 + b"\n"), FormatError, "x.csv: is damaged or no table .*field larger"),
    (content("x.csv", b"9" * 140_000 + b",2\n"), FormatError, "x.csv: is damaged or no table .*field larger"),
    (
        content("x.csv.gz", b""),
        DataError,
        "x.csv.gz: cannot tell its kind; must be .npy, .npz, .csv, .idx, .idx.gz or a folder",
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
    (array(np.array([[0, 3], [-np.inf, 2]], np.float16)), DataError, "x.npy: sample 1, value 0 is -inf, must be finite"),
    (content("x.npz", b"PK\x03\x04 cut short"), FormatError, "x.npz: is damaged or not a .npz file"),
    (content("x.npz", b"\0" * 50), DataError, "x.npz: holds something else than arrays of numbers"),
    (objects_npz, DataError, "x.npz: holds something else than arrays of numbers"),
    (many_arrays, DataError, "x.npz: holds the arrays a, b; must be one array, or x"),
    (unlike_test_set, DataError, r"x.npz: a training sample has shape \[4, 3\], a test sample \[2, 3\]"),
    (short_labels, DataError, r"x.npz: has labels of shape \[5\], must be \[20\]"),
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
    (content("x.parquet", b"PAR1"), DataError, "x.parquet: cannot tell its kind; must be .npy, .npz, .csv, .idx"),
    (lambda folder: folder / "nothing.npy", DataError, "nothing.npy: no such file or folder .* known data sets: fashion, ecg"),
    (lambda folder: folder, DataError, "holds no image"),
    (content("a.png", b"not a picture"), FormatError, "a.png: is no image or is damaged"),
    (half_image, FormatError, "a.png: is no image or is damaged"),
    (two_sizes, DataError, "b.png: is 5×5 gray, but .*a.png is 5×4 gray; all must be of one size and kind"),
    (gray_and_color, DataError, "b.png: is 5×4 RGB, but .*a.png is 5×4 gray"),
    (gray_of_8_and_16_bits, DataError, "b.png: is 5×4 gray of uint16, but .*a.png is 5×4 gray; all must"),
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
        load_splits(DataConfig(source), "sigmoid")
    recipe, out = tmp_path / "small.toml", tmp_path / "out"
    recipe.write_text(f"[data]\nsource = '{source}'\n[model]\nlayers = [{{units = 3}}]")
    assert main(["run", str(recipe), "--out", str(out)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match(f"tiedae: {tmp_path}.*{text}", line)
    assert not out.exists()


def test_too_few_samples_for_the_splits(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((2, 3), np.float32))
    with pytest.raises(DataError, match=r"x\.npy: holds 2 samples; with 2 split off none is left to train on"):
        load_splits(DataConfig("x.npy", test=0.1, validation=0.1), "sigmoid", base=tmp_path)


def test_the_home_folder_of_nobody_is_named(tmp_path):
    with pytest.raises(DataError, match=r"^~nosuchuser/x\.npy: no home folder is known for ~nosuchuser; write the path"):
        load_splits(DataConfig("~nosuchuser/x.npy"), "sigmoid", base=tmp_path)


def test_byte_scaling_names_the_source_whose_values_are_no_bytes(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(40.0).reshape(10, 4) - 1)
    with pytest.raises(DataError, match=r'^x\.npy: has values from -1 to .*; scaling "byte" .* must lie in 0…255'):
        load_splits(DataConfig("x.npy", scaling="byte", split="tail"), "sigmoid", base=tmp_path)


def test_a_window_is_for_records_only(tmp_path):
    write_npy(tmp_path)
    with pytest.raises(DataError, match=r"x\.npy: has shape \[20, 4, 3\]; `window` in \[data\] is for one long record"):
        load_splits(DataConfig("x.npy", window=5), "sigmoid", base=tmp_path)


@pytest.mark.parametrize("shape", [(600,), (600, 1)])
def test_a_window_longer_than_the_record_says_so(tmp_path, shape):
    np.save(tmp_path / "x.npy", np.arange(600.0).reshape(shape))
    with pytest.raises(DataError, match=r"x\.npy: `window` in \[data\] is 601, longer than the record of 600 values; must be"):
        load_splits(DataConfig("x.npy", window=601), "sigmoid", base=tmp_path)


def test_values_that_vary_in_the_test_part_alone_teach_nothing(tmp_path):
    np.save(tmp_path / "x.npy", np.array([[0], [0], [0], [9]], np.uint8))
    with pytest.raises(DataError, match=r"x\.npy: every value to train on is 0;"):
        load_splits(DataConfig("x.npy", split="tail", test=0.25), "sigmoid", base=tmp_path)
