"""`eval`: a network's and the grouping's accuracy on labelled pictures, as one JSON object."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import track

from posestream.models.choice import choose
from posestream.models.engines import open_engine
from posestream.models.registry import load_registry
from posestream.models.weights import WeightStore
from posestream.pipeline.bench.measure import report
from posestream.pipeline.commands.run import network_options, settings_of
from posestream.pipeline.evaluate import Labels, evaluate, pose_pictures
from posestream.pipeline.logs import set_up_logging
from posestream.pipeline.settings import Settings
from posestream.stages.group.implementation import choose_implementation
from posestream.stages.output.sink import check_free, check_writable
from posestream.stages.source.pictures import is_picture

__all__ = ["eval_command"]


@click.command("eval")
@click.option(
    "--images", type=click.Path(path_type=Path), required=True, metavar="DIR", help="The folder of the pictures."
)
@click.option(
    "--annotations",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE.json",
    help="People's keypoints in COCO's format.",
)
@network_options
@click.option(
    "--save-results", type=click.Path(path_type=Path), metavar="FILE.json", help="Write the people in COCO's format."
)
@click.option("--overwrite", is_flag=True, help="Replace results that exist.")
def eval_command(images: Path, annotations: Path, save_results: Path | None, overwrite: bool, **options: Any) -> None:
    """Measure accuracy (COCO keypoints) over the pictures that have labelled keypoints.

    The last line of standard output is one JSON object.
    """
    console = Console(stderr=True)
    set_up_logging(console, "text", is_quiet=False, is_debugging=False)
    settings = settings_of(options)
    if save_results is not None:
        check_free(save_results, overwrite or settings.output.overwrite, [annotations, *_pictures_in(images)])
        check_writable(save_results)
    _evaluate(settings, console, images, annotations, save_results)


def _pictures_in(folder: Path) -> Iterator[Path]:
    """Give all pictures in the folder, whether they have labels or not."""
    return (path for path in folder.rglob("*") if is_picture(path))


def _evaluate(settings: Settings, console: Console, images: Path, annotations: Path, save_results: Path | None) -> None:
    network = settings.network
    labels = Labels(annotations)
    pictures = labels.pictures(images)
    if save_results is not None:  # annotations may name pictures outside of the folder
        check_free(save_results, overwrite=True, inputs=[path for _, path in pictures])
    choice = choose(network.model, network.device, WeightStore.from_environment(), load_registry())
    # One request: a picture's time is then its own, and not its wait for others.
    with closing(open_engine(choice.spec, choice.weights, choice.device, network.precision, 1)) as engine:
        watched = track(pictures, "pictures", console=console, transient=True)
        posed = pose_pictures(watched, choice.spec, engine, network.net_height, settings.group, network.ensemble)
        figures = evaluate(labels, posed, choice.spec.layout, save_results)
        report(
            {
                "eval": str(annotations),
                "model": choice.spec.name,
                "engine": engine.description,
                "net_height": network.net_height,
                "flip": network.flip,
                "scales": network.scales,
                "grouping": choose_implementation(settings.group.implementation),
                **figures,
            }
        )
