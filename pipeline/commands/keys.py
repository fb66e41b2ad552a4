"""`keys new NAME`: a pair of keys for a head, a worker or a subscriber."""

from __future__ import annotations

from pathlib import Path

import click
from platformdirs import user_config_path

from posestream.pipeline.security.keys import write_new_pair

__all__ = ["keys_command"]


@click.group("keys")
def keys_command() -> None:
    """Make keys with which sockets are guarded."""


@keys_command.command("new")
@click.argument("name")
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=user_config_path("posestream") / "keys",
    show_default=True,
    help="Where the files go.",
)
def new_command(name: str, folder: Path) -> None:
    """Write NAME.key, the public key to give to others, and NAME.key_secret, which stays here; mode 0600.

    A head shows its secret key to nobody and gives its public key to its clients (run --key head.key_secret); the
    public keys of those that may connect go into a folder (run --clients DIR).
    """
    for path in write_new_pair(name, folder):
        click.echo(path)
