"""OpenPose's architectures as Caffe networks with random weights: the prototxts and the binary files, made from lists.

The layers follow Cao et al. (2017 for MPI and COCO, 2019 for BODY_25): ten layers of VGG-19, then stages of two
branches, which BODY_25 has one after the other, with PReLU and its triples of 3×3 convolutions joined at each step.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from posestream.models.importers.caffe_schema import message_class

#: VGG-19 up to conv4_2: the width of each convolution, and P where the maximum is taken of 2×2.
_VGG = "64 64 P 128 128 P 256 256 256 256 P 512 512"


@dataclasses.dataclass
class Layer:
    """One layer: its kind, blobs, parameters as in a prototxt, and weights."""

    name: str
    kind: str
    bottoms: list[str]
    top: str
    parameters: dict[str, Any] = dataclasses.field(default_factory=dict)
    blobs: list[np.ndarray] = dataclasses.field(default_factory=list)


class Architecture:
    """Collects layers; widths are divided by `thinner`, so that tests need not compute the real sizes."""

    def __init__(self, thinner: int = 1, seed: int = 0) -> None:
        self.layers: list[Layer] = []
        self._thinner = thinner
        self._random = np.random.default_rng(seed)
        self._channels = {"image": 3}

    def width(self, real: int) -> int:
        """Give a layer's width here."""
        return max(real // self._thinner, 1)

    def conv(self, name: str, bottom: str, width: int, kernel: int, **more: Any) -> str:
        """Add a convolution that keeps the size."""
        group = more.get("group", 1)
        fan_in = self._channels[bottom] // group * kernel**2
        weights = self._random.normal(0, (2 / fan_in) ** 0.5, (width, self._channels[bottom] // group, kernel, kernel))
        blobs = [weights.astype(np.float32)]
        if more.get("bias_term") != "false":
            blobs.append(self._random.normal(0, 0.1, width).astype(np.float32))
        parameters = {"num_output": width, "pad": kernel // 2, "kernel_size": kernel, **more}
        return self._add(name, "Convolution", [bottom], name, width, {"convolution_param": parameters}, blobs)

    def relu(self, bottom: str, **more: Any) -> str:
        """Add a ReLU in place."""
        return self._add(f"relu_{bottom}", "ReLU", [bottom], bottom, self._channels[bottom], {"relu_param": more})

    def prelu(self, bottom: str) -> str:
        """Add a PReLU in place, with a slope for each channel."""
        channels = self._channels[bottom]
        slopes = self._random.uniform(0, 0.3, channels).astype(np.float32)
        return self._add(f"prelu_{bottom}", "PReLU", [bottom], bottom, channels, {}, [slopes])

    def pool(self, name: str, bottom: str, **more: Any) -> str:
        """Add a pooling by the maximum."""
        parameters = {"pool": "MAX", "kernel_size": 2, "stride": 2, **more}
        return self._add(name, "Pooling", [bottom], name, self._channels[bottom], {"pooling_param": parameters})

    def concat(self, name: str, bottoms: list[str]) -> str:
        """Join channels."""
        width = sum(self._channels[bottom] for bottom in bottoms)
        return self._add(name, "Concat", bottoms, name, width, {"concat_param": {"axis": 1}})

    def plain(self, kind: str, name: str, bottoms: list[str], top: str, **parameters: Any) -> str:
        """Add a layer without weights that keeps the channels."""
        return self._add(name, kind, bottoms, top, self._channels[bottoms[0]], parameters)

    def _add(self, name, kind, bottoms, top, width, parameters, blobs=()) -> str:
        self._channels[top] = width
        parameters = {key: value for key, value in parameters.items() if value}
        self.layers.append(Layer(name, kind, bottoms, top, parameters, list(blobs)))
        return top


def vgg(net: Architecture, activate: Any) -> str:
    """Add the first layers of VGG-19; the last two are activated by `activate`."""
    blob, block, number = "image", 1, 1
    widths = _VGG.split()
    for word in widths:
        if word == "P":
            blob = net.pool(f"pool{block}_stage1", blob)
            block, number = block + 1, 1
            continue
        blob = net.conv(f"conv{block}_{number}", blob, net.width(int(word)), 3)
        (activate if (block, number) == (4, 2) else net.relu)(blob)
        number += 1
    for name, width in (("conv4_3_CPM", 256), ("conv4_4_CPM", 128)):
        blob = net.conv(name, blob, net.width(width), 3)
        activate(blob)
    return blob


def two_branches(stages: int, heatmaps: int, pafs: int, thinner: int = 1, seed: int = 0) -> Architecture:
    """Give MPI's or COCO's network: two branches of each stage beside each other, joined with the features."""
    net = Architecture(thinner, seed)
    features = blob = vgg(net, net.relu)
    for stage in range(1, stages + 1):
        ends = []
        for branch, outputs in (("L1", pafs), ("L2", heatmaps)):
            kernels = [(128, 3)] * 3 + [(512, 1)] if stage == 1 else [(128, 7)] * 5 + [(128, 1)]
            end = blob
            for number, (width, kernel) in enumerate(kernels, 1):
                end = net.relu(net.conv(f"Mconv{number}_stage{stage}_{branch}", end, net.width(width), kernel))
            ends.append(net.conv(f"Mconv{len(kernels) + 1}_stage{stage}_{branch}", end, outputs, 1))
        if stage < stages:
            blob = net.concat(f"concat_stage{stage + 1}", [*ends, features])
    net.concat("net_output", ends[::-1])
    return net


def body25(thinner: int = 1, seed: int = 0) -> Architecture:
    """Give BODY_25's network: four stages for the PAFs, then two for the heatmaps, of dense blocks with PReLU."""
    net = Architecture(thinner, seed)
    features = vgg(net, net.prelu)
    pafs = _dense_stages(net, "L2", 52, [features], features, (96, 128, 128, 128), 4)
    heatmaps = _dense_stages(net, "L1", 26, [features, pafs], features, (96, 128), 2, keep=pafs)
    net.concat("net_output", [heatmaps, pafs])
    return net


def _dense_stages(net, branch, outputs, first, features, widths, stages, keep=None) -> str:
    """Add the stages of a branch; each takes the features, what the branch gave before, and what is kept."""
    blob = first[0] if len(first) == 1 else net.concat(f"concat_stage0_{branch}", first)
    for stage in range(stages):
        width = net.width(widths[stage])
        for number in range(1, 6):
            parts = []
            for step in range(3):
                blob = net.prelu(net.conv(f"Mconv{number}_stage{stage}_{branch}_{step}", blob, width, 3))
                parts.append(blob)
            blob = net.concat(f"Mconv{number}_stage{stage}_{branch}_concat", parts)
        blob = net.prelu(net.conv(f"Mconv6_stage{stage}_{branch}", blob, net.width(256 if stage == 0 else 512), 1))
        end = net.conv(f"Mconv7_stage{stage}_{branch}", blob, outputs, 1)
        if stage < stages - 1:
            joined = [features, end] if keep is None else [features, end, keep]
            blob = net.concat(f"concat_stage{stage + 1}_{branch}", joined)
    return end


def odd(seed: int = 0) -> Architecture:
    """Give a network of what the others lack: groups, dilation, oblong kernels, sums, slopes, overlapping pools."""
    net = Architecture(1, seed)
    blob = net.relu(net.conv("first", "image", 12, 3, bias_term="false", stride=2), negative_slope=0.1)
    blob = net.pool("pool", blob, kernel_size=3, stride=2)
    grouped = net.conv("grouped", blob, 12, 3, group=4)
    dilated = net.conv("dilated", blob, 12, 3, dilation=2, pad=2)
    net.plain("Eltwise", "sum", [grouped, dilated], "sum", eltwise_param={"operation": "SUM"})
    net.plain("Dropout", "drop", ["sum"], "drop")
    net.plain("TanH", "tanh", ["drop"], "tanh")
    net.plain("Sigmoid", "sigmoid", ["sum"], "sigmoid")
    both = net.plain("Eltwise", "product", ["tanh", "sigmoid"], "product", eltwise_param={"operation": "MAX"})
    blob = net.pool("pool2", both)
    net.relu(net.conv("heatmaps", blob, 16, 1))
    net.conv("pafs", blob, 28, 1)
    net.concat("maps", ["pafs", "heatmaps"])
    return net


def prototxt(net: Architecture, form: str = "layer", input_form: str = "input_dim") -> str:
    """Write the network's layers, in the `layer` or the older `layers` form."""
    inputs = {
        "input_dim": 'input: "image"\ninput_dim: 1\ninput_dim: 3\ninput_dim: 16 # changed later\ninput_dim: 16\n',
        "input_shape": 'input: "image"\ninput_shape { dim: 1 dim: 3 dim: 16 dim: 16 }\n',
        "layer": 'layer { name: "image" type: "Input" top: "image" '
        "input_param { shape: { dim: 1 dim: 3 dim: 16 dim: 16 } } }\n",
    }
    return 'name: "made"\n' + inputs[input_form] + "".join(_text(layer, form) for layer in net.layers)


def _text(layer: Layer, form: str) -> str:
    kind = f'"{layer.kind}"' if form == "layer" else layer.kind.upper()
    bottoms = "".join(f'  bottom: "{bottom}"\n' for bottom in layer.bottoms)
    parameters = "".join(
        f"  {name} {{ {' '.join(f'{key}: {value}' for key, value in values.items())} }}\n"
        for name, values in layer.parameters.items()
    )
    # What only training needs is in everybody's prototxts.
    rates = "  param { lr_mult: 4.0 decay_mult: 1 }\n" if form == "layer" and layer.blobs else ""
    return f'{form} {{\n  name: "{layer.name}"\n  type: {kind}\n{bottoms}  top: "{layer.top}"\n{rates}{parameters}}}\n'


def caffemodel(net: Architecture, form: str = "layer", legacy_shapes: bool = False) -> bytes:
    """Write the weights as Caffe does, in either form; legacy shapes are four sizes, ones in front."""
    message = message_class("NetParameter")(name="made")
    numbers = message_class("V1LayerParameter").DESCRIPTOR.fields_by_name["type"].enum_type.values_by_name
    for layer in net.layers:
        entry = getattr(message, form).add(name=layer.name, bottom=layer.bottoms, top=[layer.top])
        entry.type = layer.kind if form == "layer" else numbers[layer.kind.upper()].number
        for values in layer.blobs:
            blob = entry.blobs.add(data=[values.astype("<f4").tobytes()])
            if legacy_shapes:
                sizes = (1,) * (4 - values.ndim) + values.shape
                blob.num, blob.channels, blob.height, blob.width = sizes
            else:
                blob.shape.dim.extend(values.shape)
    return message.SerializeToString()


def write(net: Architecture, folder: Path, **forms: Any) -> tuple[Path, Path]:
    """Write both files; give their paths."""
    form = forms.get("form", "layer")
    paths = folder / "made.prototxt", folder / "made.caffemodel"
    paths[0].write_text(prototxt(net, form, forms.get("input_form", "input_dim")), "utf-8")
    paths[1].write_bytes(caffemodel(net, form, forms.get("legacy_shapes", False)))
    return paths
