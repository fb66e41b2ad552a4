"""`models list|info|fetch|import|quantize`: which networks there are, and how to have them."""

from __future__ import annotations

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from posestream.models.catalogue import list_networks, network_details
from posestream.models.errors import DamagedError
from posestream.models.registry import find_network, load_registry
from posestream.models.spec import Access, NetworkSpec
from posestream.models.weights import Weights, WeightStore
from posestream.pipeline.commands.console import show_table, standard_output
from posestream.pipeline.commands.fetching import FetchView
from posestream.pipeline.commands.importing import import_command
from posestream.pipeline.commands.quantizing import quantize_command

__all__ = ["models_command"]

#: Narrower terminals break the tables' lines; squeezed any further they could not be read.
_LEAST_COLUMNS = 72


@click.group("models")
def models_command() -> None:
    """List, describe, fetch, import and quantise networks."""


models_command.add_command(import_command)
models_command.add_command(quantize_command)


@models_command.command("list")
def list_command() -> None:
    """List the networks of the registry."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("name", "layout", "licence", "devices", "where"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "name")
    registry = load_registry()
    for row in list_networks(WeightStore.from_environment(), registry):
        where = row.problem or (row.how if row.folder is None else str(row.folder))
        table.add_row(row.name, row.layout, row.licence, ", ".join(row.devices), where)
    with standard_output() as output:
        show_table(output, table, least_columns=_LEAST_COLUMNS)
    for fault in registry.damaged.values():
        click.echo(f"posestream: {fault}", err=True)


@models_command.command("info")
@click.argument("name")
def info_command(name: str) -> None:
    """Tell everything about one network."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for key, value in network_details(name, WeightStore.from_environment(), load_registry()):
        table.add_row(key, value)
    with standard_output() as output:
        show_table(output, table, least_columns=_LEAST_COLUMNS)


@models_command.command("fetch")
@click.argument("name")
@click.option("--accept-licence", is_flag=True, help="You have read and accept a licence that is not free.")
@click.option("--quiet", "-q", is_flag=True, help="No progress bar.")
def fetch_command(name: str, accept_licence: bool, quiet: bool) -> None:
    """Fetch a network's files into the cache, and verify them."""
    spec = find_network(name, load_registry())
    store = WeightStore.from_environment()
    with FetchView(Console(stderr=True), is_quiet=quiet) as view:
        weights = store.locate_named(spec) or _whole_in_cache(spec, store)
        weights = weights or store.fetch(spec, accept_licence, view.note)
    if not quiet:
        with standard_output() as output:
            output.print(Text(f"{spec.name}: {weights.folder}"), soft_wrap=True)


def _whole_in_cache(spec: NetworkSpec, store: WeightStore) -> Weights | None:
    """Give what the cache has of a network; None where it is to be fetched, which is said where it is damaged."""
    try:
        return store.locate_cached(spec)
    except DamagedError:
        if spec.access is not Access.LOCAL:
            click.echo(f"posestream: {spec.name}: its files in the cache are damaged: fetching them anew", err=True)
        return None
