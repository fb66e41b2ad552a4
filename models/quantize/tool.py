"""NNCF, the tool that rounds networks to int8: loaded without what reports to a statistics server, and quiet."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posestream.models.engines.runtime import brief, import_without, load_core
from posestream.models.errors import ModelError

__all__ = ["load_nncf", "round_network"]

#: What NNCF sends usage data with; without it NNCF sends none.
_TELEMETRY = "openvino_telemetry"


def load_nncf() -> Any:
    """Give the module `nncf`, imported on first use with its telemetry hidden: nothing is sent anywhere.

    Raises:
        ModelError: it is not installed; the text names the extra.
    """
    # NNCF makes cores of its own and frees them; where one was there before, none of them is a thread's first.
    load_core()
    try:
        nncf = import_without("nncf", _TELEMETRY)
        import_without("nncf.quantization.advanced_parameters", _TELEMETRY)
    except ImportError as error:
        raise ModelError(f"quantising needs nncf ({error}): pip install 'posestream[quantize]'") from error
    # Its logger alone: `nncf.set_log_level` also sets the handlers, which may be others' that listen to it.
    logging.getLogger("nncf").setLevel(logging.ERROR)
    return nncf


def round_network(
    model: Any, inputs: Sequence[NDArray[np.float32]], left_out: Collection[str] = (), is_corrected: bool = True
) -> Any:
    """Give a copy of an `openvino.Model` with convolutions rounded to int8, by the ranges of their values in `inputs`.

    Activations are rounded symmetrically. With a zero point they would be a little finer, but OpenVINO's fast kernels
    (brgconv on AMX) do not take one, and those that do crash on sizes that are not known when they are compiled
    (seen with OpenVINO 2026.4).

    Args:
        model: the float network, of free height and width.
        inputs: what it takes, a picture each.
        left_out: names of operations that stay in float.
        is_corrected: True to shift each layer's biases by what rounding shifts its mean.

    Raises:
        ModelError: NNCF is not installed, or cannot round this network.
    """
    nncf = load_nncf()
    try:
        # Its progress bars go to standard output, which is for results.
        with contextlib.redirect_stdout(io.StringIO()):
            return nncf.quantize(
                model.clone(),
                nncf.Dataset(list(inputs)),
                preset=nncf.QuantizationPreset.PERFORMANCE,
                subset_size=len(inputs),
                ignored_scope=nncf.IgnoredScope(names=sorted(left_out)),
                advanced_parameters=nncf.AdvancedQuantizationParameters(disable_bias_correction=not is_corrected),
            )
    except (RuntimeError, ValueError, nncf.ValidationError, nncf.InternalError, nncf.UnsupportedModelError) as error:
        raise ModelError(f"NNCF cannot quantise {model.get_friendly_name()}: {brief(error)}") from error
