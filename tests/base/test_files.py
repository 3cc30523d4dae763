"""Files are whole or not at all, and an error names the file that was asked for."""

import contextlib
import os
import signal
import stat
from pathlib import Path

import pytest

from tiedae.base import files
from tiedae.base.errors import FormatError, InputError, TiedaeError
from tiedae.base.files import (
    atomic,
    beside,
    expanded,
    open_regular,
    own,
    place,
    place_folder,
    read_regular,
    require_alone,
    require_regular,
    write_atomic,
)
from tiedae.base.npy import read_npy


def test_a_link_stays_and_its_file_is_replaced(tmp_path):
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "file")
    for data in (b"one", b"two"):
        write_atomic(link, data)
        assert link.is_symlink() and (tmp_path / "file").read_bytes() == data
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link"]


def test_a_file_that_is_there_is_kept_where_it_is_not_to_be_replaced(tmp_path):
    write_atomic(tmp_path / "file", b"one", replace=False)
    with pytest.raises(FileExistsError, match="file"):
        write_atomic(tmp_path / "file", b"two", replace=False)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"one"]


def test_a_pipe_is_written_to(tmp_path):
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as source:
        write_atomic(tmp_path.joinpath(f"/dev/fd/{writer}"), b"data")
        os.close(writer)
        assert source.read() == b"data"


@pytest.mark.parametrize("name", ["folder", "file/below"])
def test_an_error_names_the_file(name, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"directory|exists") as caught:
        write_atomic(tmp_path / name, b"data")
    assert caught.value.filename == str(tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


@pytest.fixture
def pipe(tmp_path):
    """A named pipe that nobody writes to: opening it as usual waits without end."""
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


def unread(path):
    """What reading a path would wait for or never finish, instead of a file."""
    for read in (read_regular, require_regular, open_regular, read_npy):
        with pytest.raises(FormatError) as caught:
            read(path)
        yield str(caught.value)


def test_a_pipe_a_folder_and_a_link_to_a_device_are_not_read(pipe, tmp_path):
    (tmp_path / "zero").symlink_to("/dev/zero")
    for path, kind in ((pipe, "a named pipe"), (tmp_path, "a folder"), (tmp_path / "zero", "a device")):
        assert {*unread(path)} == {f"{path}: is {kind}, must be a regular file"}


def test_a_link_to_a_file_is_read(tmp_path):
    (tmp_path / "link").symlink_to("file")
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "link")
    (tmp_path / "file").write_bytes(b"data")
    assert read_regular(tmp_path / "link") == b"data"


@pytest.mark.parametrize("follow", [True, False])
def test_a_pipe_or_a_device_is_never_replaced(pipe, tmp_path, follow):
    (tmp_path / "null").symlink_to("/dev/null")
    for path, kind in ((pipe, "named pipe"), *([(tmp_path / "null", "device"), (Path("/dev/null"), "device")] * follow)):
        with pytest.raises(InputError, match=f"{path}: is a {kind}, must be a regular file or a new one"), atomic(path):
            raise AssertionError("nothing is written")
    assert pipe.is_fifo() and Path("/dev/null").is_char_device()


def test_without_following_a_link_itself_is_replaced(tmp_path):
    (tmp_path / "profile").write_bytes(b"somebody's")
    for target in ("profile", "/dev/null", "nothing"):
        (tmp_path / "link").symlink_to(target)
        write_atomic(tmp_path / "link", b"ours", follow=False)
        assert not (tmp_path / "link").is_symlink() and (tmp_path / "link").read_bytes() == b"ours"
        (tmp_path / "link").unlink()
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"somebody's"]


def test_one_at_a_time(tmp_path):
    path = tmp_path / "file"
    path.touch()
    with path.open("rb") as one, path.open("rb") as other:
        require_alone(one, "busy")
        with pytest.raises(InputError, match=r"^busy$"):
            require_alone(other, "busy")
    with path.open("rb") as other:
        require_alone(other, "busy")


@pytest.mark.parametrize("text", ["~nosuchuser/m.onnx", "~nosuchuser"])
def test_the_home_of_nobody_is_one_line(text):
    with pytest.raises(InputError, match=r"no home folder is known for ~nosuchuser; write the path"):
        expanded(text)


def test_a_home_is_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/home/x")
    assert expanded("~/a") == Path("/home/x/a") and expanded("a/~") == Path("a/~")


def replaced(path: Path) -> None:
    write_atomic(path, b"ours", follow=False)


def taken(path: Path) -> None:
    with own(path) as file:
        file.write(b"ours")


MAKERS = {"write_atomic": replaced, "own": taken}


@pytest.mark.parametrize("kind", ["link", "dangling link", "pipe", "hard link"])
@pytest.mark.parametrize("maker", MAKERS)
def test_links_followed(tmp_path, maker, kind):
    """A name that we chose, in a folder of a stranger: nothing beyond it is written, and nothing waits."""
    (tmp_path / "folder").mkdir()
    victim, path = tmp_path / "victim", tmp_path / "folder" / ".lock"
    if kind != "dangling link":
        victim.write_bytes(b"somebody's")
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "hard link":
        os.link(victim, path)
    else:
        path.symlink_to(victim)
    with contextlib.suppress(TiedaeError):
        MAKERS[maker](path)
    assert victim.exists() == (kind != "dangling link")
    assert not victim.exists() or victim.read_bytes() == b"somebody's"


RIGHT = r"part: (is a link|is a named pipe|has another name \(a hard link\)), must be a"


@pytest.mark.parametrize("kind", ["link", "pipe", "hard link"])
def test_a_file_of_our_own_has_no_other_place(tmp_path, kind):
    path = tmp_path / "part"
    (tmp_path / "file").touch()
    {"link": path.symlink_to, "pipe": lambda _: os.mkfifo(path), "hard link": lambda file: os.link(file, path)}[kind](
        tmp_path / "file"
    )
    with pytest.raises(TiedaeError, match=RIGHT), own(path):
        raise AssertionError("it is not opened")


def test_a_replaced_file_keeps_its_mode_and_its_other_names(tmp_path):
    (tmp_path / "file").write_bytes(b"what was there, longer")
    (tmp_path / "file").chmod(0o600)
    write_atomic(tmp_path / "file", b"new")
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600
    os.link(tmp_path / "file", tmp_path / "other")
    write_atomic(tmp_path / "file", b"ours")
    assert (tmp_path / "other").read_bytes() == b"ours" and (tmp_path / "other").samefile(tmp_path / "file")
    write_atomic(tmp_path / "file", b"a stranger's folder", follow=False)
    assert (tmp_path / "other").read_bytes() == b"ours"


BUSY = "another process is writing to it; wait for it or choose another"
CAN_RENAME = [True, False]
"""Whether the file system can exchange names, and rename without replacing."""


@pytest.fixture
def can_rename(request, monkeypatch):
    if not request.param:
        monkeypatch.setattr(files, "_renamed", lambda *_, **__: False)


def test_one_process_at_a_time_writes_a_file_or_a_folder(tmp_path):
    with atomic(tmp_path / "file"), pytest.raises(InputError, match=f"file: {BUSY} file"):
        write_atomic(tmp_path / "file", b"second")
    with beside(tmp_path / "folder"), pytest.raises(InputError, match=f"folder: {BUSY} folder"), beside(tmp_path / "folder"):
        raise AssertionError("nothing is made")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("left", ["file", "folder", "link"])
def test_what_a_killed_process_left_gives_way(tmp_path, left):
    part = tmp_path / f".new{files.UNFINISHED}"
    (tmp_path / "theirs").write_bytes(b"theirs")
    if left == "folder":
        part.mkdir()
        (part / "half").write_bytes(b"half")
    else:
        part.write_bytes(b"half") if left == "file" else part.symlink_to(tmp_path / "theirs")
    write_atomic(tmp_path / "new", b"whole")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"new": b"whole", "theirs": b"theirs"}


def test_a_hard_link_that_was_left_keeps_its_file(tmp_path):
    (tmp_path / "file").write_bytes(b"somebody's")
    os.link(tmp_path / "file", tmp_path / f".new{files.UNFINISHED}")
    write_atomic(tmp_path / "new", b"ours")
    assert (tmp_path / "file").read_bytes() == b"somebody's"


@pytest.mark.parametrize(
    ("name", "works"),
    [("touch", atomic), ("unlink", atomic), ("mkdir", beside), ("rmdir", beside)],
    ids=["made", "removed", "folder made", "folder removed"],
)
def test_ctrl_c_at_any_moment_leaves_nothing_unfinished(tmp_path, monkeypatch, name, works):
    owner = os if name == "rmdir" else Path
    real = getattr(owner, name)

    def interrupted(path, *arguments, **options):
        if not str(path).endswith(files.UNFINISHED):
            return real(path, *arguments, **options)
        monkeypatch.undo()
        if name in ("touch", "mkdir"):
            real(path, *arguments, **options)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(owner, name, interrupted)
    with pytest.raises(KeyboardInterrupt), works(tmp_path / "name"):
        raise InputError("what was begun is removed")
    assert list(tmp_path.iterdir()) == []


def test_the_part_of_the_next_process_stays(tmp_path, monkeypatch):
    """It may begin as soon as the file is in place."""
    part, first = tmp_path / f".file{files.UNFINISHED}", files.place

    def placed(source, target, *, replace):
        first(source, target, replace=replace)
        part.write_bytes(b"of the next process")

    monkeypatch.setattr(files, "place", placed)
    write_atomic(tmp_path / "file", b"ours")
    assert (tmp_path / "file").read_bytes() == b"ours" and part.read_bytes() == b"of the next process"


@pytest.mark.parametrize("can_rename", CAN_RENAME, indirect=True)
def test_a_file_takes_a_place_that_is_free(tmp_path, can_rename):
    (tmp_path / "new").write_bytes(b"new")
    (tmp_path / "there").write_bytes(b"there")
    with pytest.raises(FileExistsError):
        place(tmp_path / "new", tmp_path / "there", replace=False)
    assert (tmp_path / "there").read_bytes() == b"there" and (tmp_path / "new").read_bytes() == b"new"
    place(tmp_path / "new", tmp_path / "free", replace=False)
    assert (tmp_path / "free").read_bytes() == b"new" and not (tmp_path / "new").exists()


@pytest.mark.parametrize("can_rename", CAN_RENAME, indirect=True)
def test_a_folder_takes_the_place_of_another(tmp_path, can_rename):
    for name in ("new", "there"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    place_folder(tmp_path / "new", tmp_path / "there")
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["new"]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["there"]
    place_folder(tmp_path / "there", tmp_path / "free")
    assert {path.name for path in tmp_path.iterdir()} == {"free", "new"}


def test_no_name_is_missing_while_two_are_exchanged(tmp_path):
    """Of the system calls that rename, one: no process that is killed finds a place empty."""
    for name in ("new", "there"):
        (tmp_path / name).mkdir()
    there = []
    rename = files._renamed

    def watched(source, target, *, exchange):
        there.append((source.exists(), target.exists()))
        return rename(source, target, exchange=exchange)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "_renamed", watched)
        patch.setattr(Path, "rename", None)
        place_folder(tmp_path / "new", tmp_path / "there")
    assert there == [(True, True)]
