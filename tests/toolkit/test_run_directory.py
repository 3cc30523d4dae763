"""What `--force` works on takes the place of an earlier folder, also where it is killed on the way."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiedae import run_directory
from tiedae.compress.errors import InputError
from tiedae.compress.files import UNFINISHED
from tiedae.run_directory import NEXT, READY, claim, new_folder, take_place

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
