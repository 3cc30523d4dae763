import gzip
import struct

import numpy as np
import pytest
from msgspec import structs
from PIL import Image

from tiedae.base.records import plain
from tiedae.config.config import DataConfig
from tiedae.data.arrays import MAPPED_FROM
from tiedae.data.data_sets import DATA_SETS, VARIABLE
from tiedae.data.readers import read
from tiedae.pipeline.sources import data_text, load_dataset

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


def write_npz_of_one_label(folder):
    np.savez(folder / "x.npz", x=PIXELS, label=LABELS)
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
        (write_npz_of_one_label, True),
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
        names = np.unique(arrays.labels, return_inverse=True)[1] if arrays.labels.dtype.kind == "U" else arrays.labels
        np.testing.assert_array_equal(names, LABELS[order])
    splits = load_dataset(DataConfig(str(path.relative_to(tmp_path))), "sigmoid", base=tmp_path)
    assert (len(splits.train), len(splits.test), splits.inputs) == (18, 2, 12)


ORIENTED = {
    1: PIXELS[0],
    2: PIXELS[0, :, ::-1],
    3: PIXELS[0, ::-1, ::-1],
    4: PIXELS[0, ::-1],
    5: PIXELS[0].T,
    6: np.rot90(PIXELS[0], -1),
    7: PIXELS[0, ::-1, ::-1].T,
    8: np.rot90(PIXELS[0]),
}
"""The picture that each EXIF orientation says, with row 0 and column 0 where the specification places them."""


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
@pytest.mark.parametrize(("orientation", "upright"), ORIENTED.items())
def test_images_are_turned_as_their_exif_says(tmp_path, orientation, upright, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True, "exact": True} if suffix == ".webp" else {}
    Image.fromarray(PIXELS[0]).convert("RGB").save(tmp_path / f"a{suffix}", exif=exif, **options)
    np.testing.assert_array_equal(read(tmp_path).values, np.stack([upright] * 3, -1)[None])


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
    train = load_dataset(DataConfig(str(tmp_path), test=0.25), "sigmoid").train
    kept = dtype if dtype == np.uint16 else np.float32
    assert (train.dtype, train.shape, train.scaling.rule) == (kept, (5, 6), "minmax")
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
    splits, again = (load_dataset(config, "sigmoid", base=tmp_path) for _ in range(2))
    parts = [part for part in (splits.train, splits.validation, splits.test) if part is not None]
    assert [len(part) for part in parts] == ([15, 5] if validation == 0 else [11, 4, 5])
    assert all(part.rows is not None and (np.diff(np.asarray(part.rows)) > 0).all() for part in parts)
    every = np.concatenate([part.take(slice(None)) for part in parts])
    assert sorted(map(tuple, every)) == sorted(map(tuple, PIXELS.reshape(20, -1)))
    assert splits.train.sha256 == again.train.sha256
    assert splits.train.sha256 != load_dataset(structs.replace(config, seed=1), "sigmoid", base=tmp_path).train.sha256
    pixels, labels = splits.test.take(slice(None)), splits.test.labels
    assert labels is not None
    rows = [np.flatnonzero((PIXELS.reshape(20, -1) == pixel).all(axis=1))[0] for pixel in pixels]
    np.testing.assert_array_equal(labels, LABELS[rows])


def test_the_scaling_is_fitted_on_training_samples_alone(tmp_path):
    np.save(tmp_path / "x.npy", np.array([[0.0], [10.0], [5.0], [99.0]]))
    splits = load_dataset(DataConfig("x.npy", split="tail", test=0.25), "sigmoid", base=tmp_path)
    assert plain(splits.scaling) == {"rule": "minmax", "offset": [0.0], "scale": [10.0]}
    assert splits.train.scaling == splits.test.scaling == splits.scaling


def test_a_record_is_cut_and_its_end_is_the_test(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(103, dtype=np.float32))
    splits = load_dataset(DataConfig("x.npy", window=10, test=0.2, validation=0.1), "linear", base=tmp_path)
    assert splits.validation is not None
    assert splits.train.take(slice(None)).ravel().tolist() == list(range(70))
    assert splits.validation.take(slice(None)).ravel().tolist() == list(range(70, 80))
    assert splits.test.take(slice(None)).ravel().tolist() == list(range(80, 100))


def test_training_windows_overlap_by_the_stride_and_stay_clear_of_the_test(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(103, dtype=np.float32))
    config = DataConfig("x.npy", window=10, stride=5, test=0.2, validation=0.1)
    splits = load_dataset(config, "linear", base=tmp_path)
    assert splits.validation is not None
    starts = splits.train.take(slice(None))[:, 0].tolist()
    assert starts == list(range(0, 61, 5)) and splits.train.take(slice(None)).max() == 69
    assert splits.train.disjoint.take(slice(None)).ravel().tolist() == list(range(70))
    assert (len(splits.validation), len(splits.test)) == (1, 2)


def test_a_test_set_of_its_own_is_kept(tmp_path):
    np.savez(tmp_path / "x.npz", x_train=PIXELS, y_train=LABELS, x_test=PIXELS[:5])
    splits = load_dataset(DataConfig("x.npz"), "sigmoid", base=tmp_path)
    assert (len(splits.train), len(splits.test), splits.validation) == (20, 5, None)


def test_large_arrays_are_mapped_and_small_ones_loaded(tmp_path):
    np.lib.format.open_memmap(tmp_path / "large.npy", "w+", np.uint8, (MAPPED_FROM // 1024, 1024))[::2, 5] = 1
    assert isinstance(read(tmp_path / "large.npy").values, np.memmap)
    assert not isinstance(read(write_npy(tmp_path)).values, np.memmap)
    assert load_dataset(DataConfig("large.npy"), "sigmoid", base=tmp_path).train.block == 1024


@pytest.mark.parametrize(
    ("name", "train", "test", "inputs", "dtype"),
    [("fashion", 9000, 1000, 784, np.uint8), ("ecg", 337, 84, 256, np.int16), ("ecg-table", 480, 120, 8, np.float32)],
)
def test_the_data_that_ships(monkeypatch, name, train, test, inputs, dtype):
    monkeypatch.delenv(VARIABLE, raising=False)
    splits = load_dataset(DataConfig(name, test=0.1 if name == "fashion" else 0.2), "sigmoid")
    assert (len(splits.train), len(splits.test), splits.inputs, splits.train.dtype) == (train, test, inputs, dtype)


def test_the_full_data_set_is_found_through_the_environment(monkeypatch):
    if DATA_SETS["fashion-mnist"].find() is None:
        pytest.skip(f"{VARIABLE} names no folder with fashion-mnist")
    splits = load_dataset(DataConfig("fashion-mnist"), "sigmoid")
    assert (len(splits.train), len(splits.test), splits.train.shape) == (60_000, 10_000, (28, 28))
    assert splits.test.labels is not None
    assert np.bincount(splits.test.labels).tolist() == [1000] * 10


def table(folder, heading, rows=12):
    """A .csv file whose cell is 100 · row + column, text in the columns named `day` and `kind`."""
    lines = [heading]
    for i in range(rows):
        cells = [{"day": f"d{i}", "kind": "ab"[i % 2]}.get(name, str(100 * i + j)) for j, name in enumerate(heading.split(","))]
        lines.append(",".join(cells))
    (folder / "t.csv").write_text("\n".join(lines))
    return "t.csv"


@pytest.mark.parametrize(
    ("heading", "options", "columns", "label"),
    [
        ("a,b,c", {}, "a b c", None),
        ("a,label,c", {}, "a c", "label"),
        ("a,Class,c", {}, "a c", "Class"),
        ("target,b,c", {}, "b c", "target"),
        ("a,b,y", {}, "a b", "y"),
        ("x,y,z", {}, "x y z", None),
        ("a,class,c", {"label": ""}, "a class c", None),
        ("a,class,c", {"label": "a"}, "class c", "a"),
        ("a,class,c", {"drop": ("class",)}, "a c", None),
        ("a,class,c", {"columns": ("c", "class")}, "c class", None),
        ("a,class,c", {"columns": ("c", "a")}, "c a", "class"),
        ("a,day,c", {"drop": ("day",)}, "a c", None),
        ("a,day,c,kind", {"columns": ("c", "a"), "label": "kind"}, "c a", "kind"),
        ("label,class,c", {"label": "class"}, "label c", "class"),
        ("a, b ,c", {"columns": ("b",)}, "b", None),
        (",b,c", {"drop": ("",)}, "b c", None),
        (",b,y", {"drop": ("",), "label": ""}, "b y", None),
        (",b,c", {"columns": ("b",)}, "b", None),
    ],
)
def test_columns_are_chosen_by_name_and_the_choice_is_known(tmp_path, heading, options, columns, label):
    table(tmp_path, heading)
    config = DataConfig("t.csv", split="tail", test=0.25, **options)
    splits = load_dataset(config, "sigmoid", base=tmp_path)
    assert (splits.columns, splits.label) == (tuple(columns.split()), label)
    names = [name.strip() for name in heading.split(",")]
    places = [names.index(name) for name in columns.split()]
    np.testing.assert_array_equal(splits.train.take(slice(None)), 100.0 * np.arange(9)[:, None] + places)
    assert (splits.train.labels is None) == (label is None)
    if label == "kind":
        assert np.asarray(splits.train.labels).tolist() == ["a", "b"] * 4 + ["a"]
    elif label:
        assert np.asarray(splits.train.labels).tolist() == (100.0 * np.arange(9) + names.index(label)).tolist()
    text = data_text(config, splits)
    assert f"{len(places)} columns ({', '.join(columns.split())}), scaled per feature (minmax)" in text
    assert ("not trained on" in text) == (label is not None)


def test_a_record_may_be_a_column(tmp_path):
    table(tmp_path, "day,ecg,c", rows=40)
    splits = load_dataset(DataConfig("t.csv", columns=("ecg",), window=5), "sigmoid", base=tmp_path)
    assert (splits.inputs, splits.columns, splits.kind, type(splits.scaling.scale)) == (5, None, "record", float)
    table(tmp_path, "ecg,label", rows=40)
    splits = load_dataset(DataConfig("t.csv", window=5), "sigmoid", base=tmp_path)
    assert (splits.inputs, splits.label, splits.train.labels) == (5, "label", None)
    assert "label: label, not trained on" in data_text(DataConfig("t.csv"), splits)


def test_two_columns_are_channels_of_a_record(tmp_path):
    table(tmp_path, "a,b", rows=40)
    splits = load_dataset(DataConfig("t.csv", window=5), "sigmoid", base=tmp_path)
    assert (splits.train.shape, splits.kind, splits.columns, splits.signal.channel_names) == (
        (5, 2),
        "record",
        None,
        ("a", "b"),
    )


@pytest.mark.parametrize(
    ("convert", "mode", "shape"),
    [
        ("none", "RGB", (6, 5, 3)),
        ("gray", "RGB", (6, 5)),
        ("none", "L", (6, 5)),
        ("none", "F", (6, 5)),
        ("rgb", "RGB", (6, 5, 3)),
    ],
)
def test_pictures_of_any_size_become_one(tmp_path, convert, mode, shape):
    for i, size in enumerate([(5, 6), (10, 12), (3, 4)]):
        picture = Image.new("RGB", size, (40, 200, 90)).convert(mode)
        picture.save(tmp_path / f"{i}.{'tif' if mode == 'F' else 'png'}")
    arrays = read(tmp_path, DataConfig("x", resize=(6, 5), convert=convert))
    assert arrays.values.shape == (3, *shape)
    flat = np.asarray(Image.new("RGB", (1, 1), (40, 200, 90)).convert({"gray": "L", "rgb": mode, "none": mode}[convert]))
    np.testing.assert_array_equal(arrays.values, np.broadcast_to(flat[0, 0], (3, *shape)))


def test_a_smaller_picture_is_the_mean_of_its_pixels(tmp_path):
    for i in range(2):
        Image.fromarray(np.tile(np.array([[0, 60000], [60000, 0]], np.uint16), (8, 8))).save(tmp_path / f"{i}.png")
    values = read(tmp_path, DataConfig("x", resize=(4, 4))).values
    assert (values.dtype, values.shape) == (np.uint16, (2, 4, 4))
    np.testing.assert_allclose(values, 30000, atol=1500)
