"""What a head says that is to be served, and what is made of it elsewhere."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import zmq

from posestream.models.choice import Choice
from posestream.models.spec import NetworkSpec
from posestream.models.weights import Weights, WeightStore
from posestream.pipeline.errors import DecodeError
from posestream.pipeline.replica import serving as serving_module
from posestream.pipeline.replica.serving import Serving, serve_message, serving_of
from posestream.pipeline.settings import Settings
from posestream.pipeline.wire.envelope import decode, encode
from posestream.pipeline.wire.messages import Serve


@pytest.fixture
def here(spec: NetworkSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that has the network."""
    monkeypatch.setattr(serving_module, "choose", lambda *_: Choice(spec, Weights(spec, ()), "cpu", "a fake"))


def served(serve: Serve, folder: Path) -> Serving:
    """Serve what came over the wire."""
    message = decode([zmq.Frame(part) for part in encode(serve)]).message
    assert isinstance(message, Serve)
    return serving_of(message, "cpu", WeightStore((), folder))


@pytest.mark.usefixtures("here")
def test_another_host_serves_with_the_heads_settings(spec: NetworkSpec, tmp_path: Path) -> None:
    """Everything that people depend on travels: precision, flip, scales, and how to group."""
    settings = Settings.parse(
        {
            "network": {"flip": True, "scales": [1, 0.5], "precision": "f32"},
            "group": {"peak_threshold": 0.2, "most_people": 3},
            "replicas": {"requests": 7, "batch": 3},
        }
    )

    serving = served(serve_message(spec, settings), tmp_path)

    assert (serving.precision, serving.requests, serving.batch) == ("f32", 7, 3)
    assert serving.group_settings == settings.group
    assert serving.ensemble_settings == settings.network.ensemble
    assert serving.ensemble().count == 4


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("changes", [{"scales": (0.5,)}, {"scales": ()}, {"group": '{"most_people": 0}'}])
def test_a_heads_settings_without_sense_are_refused(spec: NetworkSpec, tmp_path: Path, changes: dict[str, Any]) -> None:
    """What no head of this version says is an error of the wire, not of the user."""
    serve = dataclasses.replace(serve_message(spec, Settings()), **changes)
    with pytest.raises(DecodeError, match=r"the head's .*settings do not fit"):
        served(serve, tmp_path)
