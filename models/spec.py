"""What a network takes and gives, and where its files come from: one frozen record per registry entry."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from posestream.models.layout import LAYOUTS, Layout

__all__ = ["DEVICE_FAMILIES", "Access", "FileSpec", "InputSpec", "NetworkSpec", "OutputSpec", "TensorLayout"]


#: Every family of devices that an engine here is for.
DEVICE_FAMILIES = ("cpu", "intel-gpu", "npu", "opencv-cpu", "opencv-cuda", "ort-cpu", "cuda", "tensorrt")


class TensorLayout(StrEnum):
    """The order of a tensor's axes."""

    NCHW = "nchw"
    NHWC = "nhwc"


class Access(StrEnum):
    """How a network's files can be had."""

    #: Downloaded from the address of each file.
    URL = "url"
    #: Taken out of a package on the Python package index.
    PACKAGE = "package"
    #: Brought by the user and converted by an importer.
    IMPORT = "import"
    #: Made on this machine from files of the user's; its record stands beside it.
    LOCAL = "local"


@dataclass(frozen=True, slots=True)
class FileSpec:
    """One file of a network."""

    name: str
    #: "sha256:…", "sha1:…" or "md5:…" with the digest in lower-case hexadecimal.
    digest: str
    size_bytes: int | None = None
    #: Where it is downloaded from, the member's path inside the package's wheel, or what it was made from.
    source: str = ""


@dataclass(frozen=True, slots=True)
class InputSpec:
    """What the network takes: BGR, `value · scale + shift` of 0…255."""

    layout: TensorLayout
    scale: float = 1.0
    shift: float = 0.0
    #: Input height and width are multiples of this.
    multiple: int = 8


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """A run of channels of one of the network's outputs."""

    tensor: str
    layout: TensorLayout
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """One network of the registry."""

    name: str
    title: str
    layout_name: str
    licence: str
    #: True where the licence asks for consent (`--accept-licence`).
    is_restricted: bool
    access: Access
    files: tuple[FileSpec, ...]
    input: InputSpec
    heatmaps: OutputSpec
    pafs: OutputSpec
    #: Network input pixels per cell of the field maps.
    stride: int
    #: Device families that can run it, such as "cpu", "opencv-cpu", "opencv-cuda".
    devices: tuple[str, ...]
    #: "PACKAGE==VERSION" and pip's platform options where `access` is a package.
    package: str = ""
    package_options: tuple[str, ...] = ()
    #: The page that tells the licence.
    licence_url: str = ""

    @property
    def layout(self) -> Layout:
        """Its keypoint layout."""
        return LAYOUTS[self.layout_name]
