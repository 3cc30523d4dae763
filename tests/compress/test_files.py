"""Files are whole or not at all, and an error names the file that was asked for."""

import os
from pathlib import Path

import pytest
from tiedae.compress.errors import FormatError, InputError
from tiedae.compress.files import atomic, open_regular, read_regular, require_alone, require_regular, write_atomic
from tiedae.compress.npy import read_npy


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
