"""What outputs have in common: refusing before any work, folders, and errors of one line."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from posestream.stages.errors import OutputError, SettingsError
from posestream.stages.output.sink import check_folder_free, check_free, make_folder, output_errors, write_whole


def test_an_existing_output_is_refused(tmp_path: Path) -> None:
    """An output that exists is refused before any work, unless overwriting is allowed."""
    path = tmp_path / "out.jsonl"
    check_free(path, overwrite=False)
    path.write_text("precious")

    with pytest.raises(SettingsError, match=r"out\.jsonl exists.*--overwrite"):
        check_free(path, overwrite=False)
    check_free(path, overwrite=True)

    assert path.read_text() == "precious"


@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_an_input_is_never_overwritten(tmp_path: Path, link: object) -> None:
    """An output that is an input under another name is refused even when overwriting is allowed."""
    source, output = tmp_path / "in.mp4", tmp_path / "out.mp4"
    source.write_bytes(b"film")
    link(source, output)  # type: ignore[operator]

    with pytest.raises(SettingsError, match="also an input"):
        check_free(output, overwrite=True, inputs=[tmp_path / "missing", source])


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    """A folder where a file is to be written is refused, and a file where a folder is to be."""
    with pytest.raises(SettingsError, match="is a folder"):
        check_free(tmp_path, overwrite=True)
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="is a file"):
        check_folder_free(tmp_path / "file", "*.json", overwrite=True)


def test_a_folder_with_such_files_is_refused(tmp_path: Path) -> None:
    """A folder is free while it holds no file like those to be written, and is never an input folder."""
    check_folder_free(tmp_path / "missing", "*_keypoints.json", overwrite=False)
    (tmp_path / "notes.txt").touch()
    check_folder_free(tmp_path, "*_keypoints.json", overwrite=False)
    (tmp_path / "a_keypoints.json").touch()

    with pytest.raises(SettingsError, match=r"keypoints\.json files already"):
        check_folder_free(tmp_path, "*_keypoints.json", overwrite=False)
    check_folder_free(tmp_path, "*_keypoints.json", overwrite=True)
    with pytest.raises(SettingsError, match="also an input"):
        check_folder_free(tmp_path, "*_keypoints.json", overwrite=True, inputs=[tmp_path])


def test_folders_are_created(tmp_path: Path) -> None:
    """A missing folder and those above it are created; one below a file is an error that names it."""
    make_folder(tmp_path / "a" / "b")
    (tmp_path / "file").touch()

    assert (tmp_path / "a" / "b").is_dir()
    with pytest.raises(OutputError, match=r"cannot write .*file"):
        make_folder(tmp_path / "file" / "b")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EIO, errno.ENXIO])
def test_an_error_is_one_line_with_what_to_do(number: int) -> None:
    """A system error becomes one line: the path, what happened and what to do about it."""
    with pytest.raises(OutputError) as caught, output_errors("out.mp4"):
        raise OSError(number, os.strerror(number))

    text = str(caught.value)
    assert text.startswith(f"cannot write out.mp4: {os.strerror(number)}; ")
    assert "\n" not in text
    assert isinstance(caught.value.__cause__, OSError)


def test_short_writes_are_completed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system takes only a part, the rest is written after it, and nothing twice."""
    taken: list[bytes] = []

    def take_three(descriptor: int, data: bytes) -> int:
        taken.append(bytes(data[:3]))
        return len(taken[-1])

    monkeypatch.setattr(os, "write", take_three)

    write_whole(99, b"abcdefgh")

    assert taken == [b"abc", b"def", b"gh"]
