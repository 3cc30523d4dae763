"""What `--force` works on takes the place of an earlier folder, also where it is killed on the way."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tiedae.base.errors import InputError, TiedaeError
from tiedae.base.files import UNFINISHED
from tiedae.pipeline import run_directory
from tiedae.pipeline.run_directory import NEXT, READY, alone_in, claim, let_all_read, new_folder, take_place

OURS = ("bundle", "model", "point-*.*")
WORDS = {"recipe": "another recipe's run"}


def claimed(out: Path, recipe: str, *, resume: bool = False, force: bool = False) -> tuple[Path, bool]:
    return claim(out, "run.json", {"recipe": recipe}, WORDS, OURS, resume=resume, force=force)


def fill(folder: Path, text: str) -> None:
    for name in ("bundle", "model"):
        (folder / name).mkdir()
        (folder / name / "file").write_text(text)
    (folder / f"point-{text}.toml").write_text(text)


def content(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def earlier(tmp_path: Path) -> dict[str, str]:
    """What `tmp_path` holds: a finished run `a` and a file of a user."""
    fill(claimed(tmp_path, "a")[0], "a")
    (tmp_path / "theirs").write_text("theirs")
    return content(tmp_path)


def test_a_forced_run_leaves_the_earlier_one_until_its_end(tmp_path: Path, earlier: dict[str, str]) -> None:
    work, continued = claimed(tmp_path, "b", force=True)
    assert (work, continued) == (tmp_path / NEXT, False)
    fill(work, "b")
    assert earlier.items() <= content(tmp_path).items()
    with pytest.raises(InputError, match="holds another recipe's run; choose another --out, or --force"):
        claimed(tmp_path, "b")
    assert claimed(tmp_path, "a", resume=True) == (tmp_path, True), "the earlier one is still there"
    assert claimed(tmp_path, "b", resume=True) == (work, True)
    take_place(tmp_path, work, "run.json", OURS)
    new = {name.replace("point-a", "point-b"): "b" for name in earlier} | {"theirs": "theirs"}
    assert content(tmp_path) == new | {"run.json": content(tmp_path)["run.json"]}
    assert claimed(tmp_path, "b", resume=True) == (tmp_path, True)


def test_another_forced_run_begins_anew(tmp_path: Path, earlier: dict[str, str]) -> None:
    fill(claimed(tmp_path, "b", force=True)[0], "b")
    work, _ = claimed(tmp_path, "c", force=True)
    assert [*content(work)] == ["run.json"] and earlier.items() <= content(tmp_path).items()


def test_what_is_nobodys_is_removed(tmp_path: Path, earlier: dict[str, str]) -> None:
    (tmp_path / NEXT / "model").mkdir(parents=True)
    for name in ("run.json", "bundle", "point-01.toml"):
        (tmp_path / f".{name}{UNFINISHED}").touch()
    assert claimed(tmp_path, "a", resume=True) == (tmp_path, True)
    assert content(tmp_path) == earlier and not (tmp_path / NEXT).exists()


class Killed(BaseException):
    pass


def test_a_process_that_is_killed_at_any_step_is_finished_by_the_next(tmp_path: Path) -> None:
    """At each call that changes the folder, before it and behind it."""
    steps = ("place", "place_folder", "_remove", "write_json")
    for step in range(99):
        out = tmp_path / str(step)
        out.mkdir()
        fill(claimed(out, "a")[0], "a")
        work, _ = claimed(out, "b", force=True)
        fill(work, "b")
        left = iter(range(step))

        def until_killed(function, left=left):
            def call(*arguments):
                for when in (lambda: None, lambda: function(*arguments)):
                    when()
                    if next(left, None) is None:
                        raise Killed

            return call

        with pytest.MonkeyPatch.context() as patch:
            for name in steps:
                patch.setattr(run_directory, name, until_killed(getattr(run_directory, name)))
            try:
                take_place(out, work, "run.json", OURS)
                assert step > 15
                return
            except Killed:
                pass
        for name in ("bundle", "model"):
            assert (out / name / "file").read_text() in ("a", "b"), f"step {step}"
        work, continued = claimed(out, "b", resume=True)
        assert continued, f"step {step}"
        take_place(out, work, "run.json", OURS)
        assert {name: text for name, text in content(out).items() if name != "run.json"} == {
            "bundle/file": "b",
            "model/file": "b",
            "point-b.toml": "b",
        }, f"step {step}"
        assert not (out / NEXT).exists() and not (out / READY).exists()
    raise AssertionError("it never ends")


def test_a_new_folder_is_whole_or_not_there(tmp_path: Path) -> None:
    with pytest.raises(Killed), new_folder(tmp_path / "made") as partial:
        partial.mkdir()
        raise Killed
    assert not [*tmp_path.iterdir()]
    for text in ("one", "two"):
        with new_folder(tmp_path / "made") as partial:
            partial.mkdir()
            (partial / "file").write_text(text)
            busy = "made: another process is writing to it; wait for it or choose another folder"
            with pytest.raises(InputError, match=busy), new_folder(tmp_path / "made"):
                raise AssertionError("nothing is made")
        assert content(tmp_path) == {"made/file": text}


@pytest.mark.parametrize("kind", ["file", "nothing", "pipe"])
def test_the_lock_of_a_stranger_leads_nowhere(tmp_path: Path, kind: str) -> None:
    """A link there was opened for writing, which empties a file; a pipe was waited for."""
    out, victim = tmp_path / "out", tmp_path / "victim"
    out.mkdir()
    if kind == "pipe":
        os.mkfifo(out / ".lock")
    else:
        (out / ".lock").symlink_to(victim)
    if kind == "file":
        victim.write_text("somebody's")
    with pytest.raises(TiedaeError, match=r"\.lock: is a (link|named pipe), must be a regular file"), alone_in(out):
        raise AssertionError("it is not held")
    assert (victim.read_text() if kind == "file" else victim.exists()) == ("somebody's" if kind == "file" else False)


def test_a_dangling_marker_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "run.json").symlink_to(tmp_path / "victim")
    claimed(tmp_path / "out", "ours")
    assert not (tmp_path / "victim").exists() and not (tmp_path / "out" / "run.json").is_symlink()


@pytest.mark.parametrize("name", [NEXT, READY, "bundle", "model"])
def test_no_folder_of_a_run_is_a_link(tmp_path: Path, name: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "run.json").write_text('{"recipe": "ours"}')
    (tmp_path / "out" / name).symlink_to(tmp_path / "victim")
    with pytest.raises(InputError, match=rf"{name}: is a link, must be a file or folder of the run itself; remove it"):
        claimed(tmp_path / "out", "ours", resume=True, force=True)
    assert [path.name for path in (tmp_path / "victim").iterdir()] == ["run.json"]


def test_all_may_read_what_is_copied_to_other_machines(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        (tmp_path / "folder" / "src").mkdir(parents=True)
        (tmp_path / "folder" / "src" / "x.c").touch()
        let_all_read(tmp_path / "folder")
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "folder").rglob("*")}
    assert modes == {"src": 0o755, "x.c": 0o644}
