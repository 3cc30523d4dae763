"""Files are whole or not at all, and an error names the file that was asked for."""

import os

import pytest
from tiedae.compress.files import write_atomic


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
