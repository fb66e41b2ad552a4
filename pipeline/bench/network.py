"""`bench network`: the bare engine, asynchronous, as fast as it goes on this machine."""

from __future__ import annotations

from contextlib import closing

import click
import numpy as np

from posestream.pipeline.bench.measure import engine_for, median, network_speed, report
from posestream.pipeline.settings import Settings

__all__ = ["measure_network"]


def measure_network(settings: Settings, width: int, rounds: int, frames: int) -> None:
    """Measure the settings' network at its net_height and this width, and print the report."""
    height = settings.network.net_height
    name, open_engine = engine_for(settings)
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    with closing(open_engine()) as engine:
        engine.prepare(height, width)
        speeds = []
        for number in range(1, rounds + 1):
            speeds.append(network_speed(engine, image, frames))
            click.echo(f"round {number}: {speeds[-1].fps:.1f} fps", err=True)
        report(
            {
                "bench": "network",
                "model": name,
                "engine": engine.description,
                "requests": engine.capacity,
                "batch": engine.batch,
                "net_size": [width, height],
                "fps": median([speed.fps for speed in speeds]),
                "cpu_ms_per_frame": median([speed.cpu_ms_per_frame for speed in speeds]),
            }
        )
