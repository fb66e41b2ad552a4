"""What a replica serves, as a message: the head says it, whoever serves makes an engine and a grouping from it."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from posestream.models.choice import choose
from posestream.models.engines import open_engine
from posestream.models.engines.base import Engine
from posestream.models.errors import ModelError
from posestream.models.registry import load_registry
from posestream.models.spec import NetworkSpec
from posestream.models.weights import Weights, WeightStore
from posestream.pipeline.errors import DecodeError
from posestream.pipeline.settings import Settings
from posestream.pipeline.wire.messages import Serve
from posestream.stages.ensemble import Ensemble, EnsembleSettings
from posestream.stages.errors import SettingsError
from posestream.stages.group.group import Group, GroupSettings

__all__ = ["Serving", "serve_message", "serving_of"]

_GROUP = TypeAdapter(GroupSettings)


@dataclass(frozen=True, slots=True)
class Serving:
    """What a replica needs to work: its network and device, how often each frame is seen, and how to group."""

    spec: NetworkSpec
    weights: Weights
    device: str
    precision: str
    requests: int
    batch: int
    hang_s: float
    group_settings: GroupSettings
    ensemble_settings: EnsembleSettings

    @property
    def opener(self) -> Callable[[], Engine]:
        """What the replica calls, in its own thread, to have its engine."""
        return lambda: open_engine(self.spec, self.weights, self.device, self.precision, self.requests, self.batch)

    def ensemble(self) -> Ensemble:
        """Make what lets the network see each frame as often as wanted."""
        return Ensemble(self.spec.layout, self.spec.stride, self.spec.input.multiple, self.ensemble_settings)

    def group(self) -> Group:
        """Make the grouping of one replica."""
        return Group(self.spec.layout, self.group_settings)


def serve_message(spec: NetworkSpec, settings: Settings) -> Serve:
    """Say what the replicas of a job are to serve, as a head that there was not before."""
    digests = tuple(file.digest for file in spec.files)
    group = _GROUP.dump_json(settings.group).decode()
    network = settings.network
    replicas = settings.replicas
    return Serve(
        secrets.token_hex(8),
        spec.name,
        digests,
        len(spec.layout.keypoints),
        network.precision,
        replicas.requests,
        replicas.batch,
        replicas.hang_s,
        group,
        network.flip,
        network.scales,
    )


def serving_of(serve: Serve, device: str, store: WeightStore) -> Serving:
    """Find here what the head wants to be served.

    Raises:
        ModelError, EngineError: the network is unknown here, is another one than the head's, or the device cannot
            run it.
        DecodeError: the head's settings are none of this version's.
    """
    choice = choose(serve.model, device, store, load_registry())
    if tuple(file.digest for file in choice.spec.files) != serve.digests:
        raise ModelError(f"cannot serve {serve.model}: the head's has other digests than the one known here")
    try:
        group = _GROUP.validate_json(serve.group)
        ensemble = EnsembleSettings(flip=serve.flip, scales=serve.scales)
    except ValidationError as error:
        raise DecodeError(f"the head's [group] settings do not fit: {error.errors()[0]['msg']}") from error
    except SettingsError as error:
        raise DecodeError(f"the head's settings do not fit: {error}") from error
    return Serving(
        choice.spec,
        choice.weights,
        choice.device,
        serve.precision,
        serve.requests,
        serve.batch,
        serve.hang_s,
        group,
        ensemble,
    )
