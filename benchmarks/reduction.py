"""Dimensionality reduction on Fashion-MNIST: int8 codes against PCA, scikit-learn's checks, and memory over a large file.

    TIEDAE_DATA=... python benchmarks/reduction.py --json reduction.json [--row NAME]

Codes are those of `TiedAutoencoderTransformer(bits=8)`, fitted on the 60,000 training images without their labels; the gains
are medians of three seeds. Trustworthiness is that of 5,000 of the 10,000 test images, drawn by a seed, in pixels. The k-NN
accuracy is that of all test images, the training images voting. Settings were chosen on 5,000 of the training images, held out.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from rows import Row, arguments_of, report

from tiedae.base.packages import require_installed
from tiedae.compress import DataConfig
from tiedae.pipeline.sources import load_dataset
from tiedae.report.console import Console
from tiedae.tasks.neighbourhoods import Pca, knn_accuracy, trustworthiness

SEEDS = (0, 1, 2)
NEIGHBOURS, VOTES = 10, 5
COMPARED = 5000
SETTINGS = {"batch_size": 256, "bits": 8, "quantize_epochs": 1}
WIDE = {
    **SETTINGS,
    "n_components": 30,
    "hidden_layer_sizes": (512,),
    "output_activation": "linear",
    "learning_rate": 1e-3,
    "weight_decay": 1.0,
    "epochs": 6,
}
NARROW = {**SETTINGS, "n_components": 8, "hidden_layer_sizes": (512, 256), "output_activation": "sigmoid", "epochs": 6}
SHAPE = (1_369_568, 784)
"""float32: 4 GiB, within a row."""
INTERVAL = 0.005
"""Seconds between readings of the memory."""


def main() -> int:
    parser = arguments_of(__doc__ or "")
    parser.add_argument("--row", choices=list(ROWS), action="append", help="only this row (default: all)")
    arguments = parser.parse_args()

    return report("Dimensionality reduction", lambda console: reduction_rows(console, arguments.row), arguments.json)


def reduction_rows(console: Console, names: Sequence[str] | None = None) -> Sequence[Row]:
    """All rows, or those of these names; UnavailableError without scikit-learn."""
    require_installed("sklearn")
    return [ROWS[name](console) for name in names or ROWS]


def trustworthiness_row(console: Console) -> Row:
    train, test = _images()[0], _images()[2]
    chosen = np.sort(np.random.default_rng(0).permutation(len(test))[:COMPARED])
    pixels = test[chosen] / 255
    of_pca = trustworthiness(pixels, Pca.fit(train / np.float32(255), WIDE["n_components"]).encode(pixels), NEIGHBOURS)
    found = []
    for seed in SEEDS:
        console.note(f"trustworthiness: seed {seed}")
        found.append(trustworthiness(pixels, _fitted(WIDE, seed, train).transform(test[chosen]), NEIGHBOURS))
    detail = f"{_listed(found, '.5f')} against PCA {of_pca:.5f}; {COMPARED:,} test images, {NEIGHBOURS} neighbours, 30 values"
    return Row("trustworthiness_gain", float(np.median(found)) - of_pca, "", ">= -0.001", ">= 0.001", detail)


def knn_row(console: Console) -> Row:
    train, train_labels, test, test_labels = _images()
    pca = Pca.fit(train / np.float32(255), NARROW["n_components"])

    def accuracy(encode: Callable[[np.ndarray], np.ndarray]) -> float:
        return 100 * knn_accuracy(encode(train), train_labels, encode(test), test_labels, VOTES)

    of_pca = accuracy(lambda x: pca.encode(x / np.float32(255)))
    found = []
    for seed in SEEDS:
        console.note(f"k-NN accuracy: seed {seed}")
        found.append(accuracy(_fitted(NARROW, seed, train).transform))
    detail = f"{_listed(found, '.2f')} % against PCA {of_pca:.2f} %; 60,000 vote on 10,000, {VOTES} neighbours, 8 values"
    return Row("knn_accuracy_gain", float(np.median(found)) - of_pca, "points", ">= 2.0", ">= 5.0", detail)


def checks_row(console: Console) -> Row:
    """Failed checks of scikit-learn, of a float and of an int8 transformer."""
    import sklearn
    from sklearn.utils.estimator_checks import check_estimator

    import tiedae as ta

    counts, failed = {"passed": 0, "failed": 0, "skipped": 0, "xfail": 0}, []
    for bits in (None, 8):
        console.note(f"check_estimator: bits {bits}")
        estimator = ta.TiedAutoencoderTransformer(
            hidden_layer_sizes=(16,), epochs=3, bits=bits, quantize_epochs=0, random_state=0
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = check_estimator(estimator, on_fail=None)
        for each in found:
            counts[each["status"]] += 1
            failed += [f"bits {bits}: {each['check_name']}"] if each["status"] == "failed" else []
    text = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    detail = f"scikit-learn {sklearn.__version__}, float and int8: {text}{'; ' * bool(failed)}{', '.join(failed)}"
    return Row("estimator_checks_failed", len(failed), "checks", "== 0", "", detail)


def memory_row(console: Console) -> Row:
    """Peak of the anonymous memory of a process that transforms 4 GiB from a sparse file, over that before the call."""
    import tiedae as ta

    with tempfile.TemporaryDirectory() as folder:
        train = _images()[0]
        data = ta.Dataset.from_array(train[:6000].astype(np.float32), test=0.1)
        model = ta.TiedAutoencoder([128, 8], output_activation="linear")
        model.fit(data, epochs=1, verbose=0)
        path = ta.export_bundle(
            ta.quantize(model, data, epochs=0, verbose=0), Path(folder) / "bundle", data=data, targets=["tflite"], verbose=False
        ).path
        sparse = Path(folder) / "x.dat"
        with sparse.open("wb") as file:
            file.truncate(4 * SHAPE[0] * SHAPE[1])
        console.note("transform of 4 GiB")
        done = subprocess.run(
            [sys.executable, __file__, "--transform", str(path), str(sparse)], capture_output=True, text=True, check=True
        )
    peak, seconds, runtime = done.stdout.split()
    codes = f"codes of 8, which take {32e-6 * SHAPE[0]:.0f} MB"
    detail = f"{SHAPE[0]:,} x {SHAPE[1]} float32 to {codes}; {runtime}, {float(seconds):.0f} s"
    return Row("transform_mb", float(peak), "MB", "<= 200", "<= 100", detail)


def transform(bundle: str, file: str) -> None:
    """Print peak MB over the start, seconds and the runtime; in a process of its own."""
    import tiedae as ta

    transformer = ta.TiedAutoencoderTransformer.from_bundle(bundle)
    X = np.memmap(file, np.float32, "r", shape=SHAPE)
    before, peak, done = _anonymous(), [0], threading.Event()

    def watch() -> None:
        while not done.wait(INTERVAL):
            peak[0] = max(peak[0], _anonymous())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    codes = transformer.transform(X)
    seconds = time.perf_counter() - start
    done.set()
    watcher.join()
    assert codes.shape == (len(X), 8)
    print((max(peak[0], _anonymous()) - before) / 1e6, seconds, transformer.codec_.runtime)


def _anonymous() -> int:
    """RssAnon of this process in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def _images() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """uint8 [n, 784] and labels [n], of training and of test."""
    data = load_dataset(DataConfig("fashion-mnist"), "sigmoid")
    whole = slice(None)
    return data.train.take(whole), np.asarray(data.train.labels), data.test.take(whole), np.asarray(data.test.labels)


def _fitted(settings: Mapping[str, object], seed: int, X: np.ndarray):
    import tiedae as ta

    return ta.TiedAutoencoderTransformer(**settings, random_state=seed).fit(X)  # pyright: ignore[reportArgumentType]


def _listed(values: Sequence[float], form: str) -> str:
    return ", ".join(format(value, form) for value in values)


ROWS: Mapping[str, Callable[[Console], Row]] = {
    "trustworthiness_gain": trustworthiness_row,
    "knn_accuracy_gain": knn_row,
    "estimator_checks_failed": checks_row,
    "transform_mb": memory_row,
}

if __name__ == "__main__":
    if sys.argv[1:2] == ["--transform"]:
        transform(*sys.argv[2:])
    else:
        sys.exit(main())
