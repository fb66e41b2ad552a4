"""What an importer made: the outputs of an ONNX file, and which of their channels are what."""

from __future__ import annotations

from dataclasses import dataclass

from posestream.models.errors import ModelError
from posestream.models.layout import Layout
from posestream.models.spec import OutputSpec, TensorLayout

__all__ = ["Converted", "Tensor", "find_maps"]


@dataclass(frozen=True, slots=True)
class Tensor:
    """One output of a network in ONNX, NCHW."""

    name: str
    #: Channels of each part, in order, where it was joined of several ones; of the whole where it was not.
    parts: tuple[int, ...]
    #: Input pixels per cell.
    stride: int

    @property
    def channels(self) -> int:
        """Channels of all parts."""
        return sum(self.parts)


@dataclass(frozen=True, slots=True)
class Converted:
    """A network that was written as ONNX."""

    tensors: tuple[Tensor, ...]
    #: True if its numbers are rounded to int8.
    is_int8: bool = False


def find_maps(layout: Layout, tensors: tuple[Tensor, ...]) -> tuple[OutputSpec, OutputSpec, int]:
    """Tell which channels are the heatmaps and which the PAFs, and the stride of both.

    Counts decide, since no layout has as many heatmaps as PAFs: of two outputs, or of the parts of one. One output
    of one part has the heatmaps first, as CMU's networks do.

    Raises:
        ModelError: no output has as many channels as the layout.
    """
    heatmaps, pafs = layout.heatmap_count, layout.paf_count
    by_channels = {tensor.channels: tensor for tensor in tensors}
    if heatmaps in by_channels and pafs in by_channels:
        first, second = by_channels[heatmaps], by_channels[pafs]
        places = (first, 0), (second, 0)
    elif heatmaps + pafs in by_channels:
        whole = by_channels[heatmaps + pafs]
        is_pafs_first = whole.parts == (pafs, heatmaps)
        places = (whole, pafs if is_pafs_first else 0), (whole, 0 if is_pafs_first else heatmaps)
    else:
        found = ", ".join(f"{tensor.name} has {tensor.channels}" for tensor in tensors)
        raise ModelError(
            f"layout {layout.name} has {heatmaps} heatmaps and {pafs} PAF channels, and no output fits it: {found}"
        )
    (first, at_first), (second, at_second) = places
    if first.stride != second.stride:
        raise ModelError(f"heatmaps have a stride of {first.stride} and PAFs one of {second.stride}")
    nchw = TensorLayout.NCHW
    return (
        OutputSpec(first.name, nchw, at_first, heatmaps),
        OutputSpec(second.name, nchw, at_second, pafs),
        first.stride,
    )
