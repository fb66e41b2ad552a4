"""A network's files on this machine: found, checked and fetched."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from posestream.models.spec import NetworkSpec

__all__ = ["Weights"]


@dataclass(frozen=True, slots=True)
class Weights:
    """A network's files, each checked against its digest, in the order of `spec.files`."""

    spec: NetworkSpec
    paths: tuple[Path, ...]

    @property
    def folder(self) -> Path:
        """Where they were found."""
        return self.paths[0].parent
