"""Key pairs as files: made, written for their owner's eyes only, and read; ZeroMQ's own certificate format."""

from __future__ import annotations

import os
import re
import stat
import struct
from dataclasses import dataclass, field
from pathlib import Path

import zmq
from zmq.utils import z85

from posestream.stages.errors import SettingsError

__all__ = ["PUBLIC_ENDING", "SECRET_ENDING", "KeyPair", "read_pair", "read_public", "write_new_pair"]

#: How the files of keys are named: those of pyzmq and czmq.
PUBLIC_ENDING, SECRET_ENDING = ".key", ".key_secret"
#: A key in ZeroMQ's printable form, Z85.
_KEY = re.compile(r'^\s*(public|secret)-key\s*=\s*"([^"\s]{40})"\s*$', re.MULTILINE)
#: How long a key is in bytes; in Z85 a quarter more.
_KEY_BYTES = 32
#: Largest file that is read as one of keys, in bytes.
_MOST_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A public key and its secret one, each 40 bytes of Z85; neither shows in a `repr`, and so in no log."""

    public: bytes = field(repr=False)
    secret: bytes = field(repr=False)


def write_new_pair(name: str, folder: Path) -> tuple[Path, Path]:
    """Make a pair and write `NAME.key`, to be given to others, and `NAME.key_secret`; both with mode 0600.

    Returns:
        The paths of the public and the secret file.

    Raises:
        SettingsError: a file of that name is there, or they cannot be written.
    """
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
        raise SettingsError(f"key name {name!r}: use letters, digits, and . _ -")
    public, secret = zmq.curve_keypair()
    public_path, secret_path = folder / f"{name}{PUBLIC_ENDING}", folder / f"{name}{SECRET_ENDING}"
    curve = f'curve\n    public-key = "{public.decode()}"\n'
    secret_line = f'    secret-key = "{secret.decode()}"\n'
    for path in (secret_path, public_path):
        if path.exists():
            raise SettingsError(f"{path} exists; give another name or remove it")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The secret one first, so that a public key without its secret is never left behind.
        _write_new(secret_path, f"# Secret key of {name}. Never give it to anybody.\n{curve}{secret_line}")
        _write_new(public_path, f"# Public key of {name}. It may be given to others.\n{curve}")
    except FileExistsError as error:
        raise SettingsError(f"{error.filename} exists; give another name or remove it") from error
    except OSError as error:
        raise SettingsError(f"cannot write keys to {folder}: {error.strerror}") from error
    return public_path, secret_path


def read_pair(path: Path) -> KeyPair:
    """Read a secret key's file.

    Raises:
        SettingsError: it cannot be read, holds no secret key, or others can read it too.
    """
    found = _read(path)
    if "public" not in found or "secret" not in found:
        raise SettingsError(f"{path} holds no secret key; give the file that ends with {SECRET_ENDING} (`keys new`)")
    if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise SettingsError(f"{path} can be read by others; make it yours alone (chmod 600) or make new keys")
    pair = KeyPair(found["public"], found["secret"])
    try:
        is_pair = zmq.curve_public(pair.secret) == pair.public
    except (zmq.ZMQError, ValueError):
        is_pair = False
    if not is_pair:
        raise SettingsError(f"{path}: its two keys do not belong together")
    return pair


def read_public(path: Path) -> bytes:
    """Read the public key of a file.

    Raises:
        SettingsError: it cannot be read, or holds none.
    """
    found = _read(path)
    if "public" not in found:
        raise SettingsError(f"{path} holds no public key; give a file that ends with {PUBLIC_ENDING} (`keys new`)")
    if not _is_z85(found["public"]):
        raise SettingsError(f"{path}: its public key is damaged; get the file again, or make new keys (`keys new`)")
    return found["public"]


def _read(path: Path) -> dict[str, bytes]:
    try:
        with path.open("rb") as file:
            text = file.read(_MOST_BYTES).decode("utf-8", "replace")
    except OSError as error:
        raise SettingsError(f"cannot read keys from {path}: {error.strerror}") from error
    return {kind: key.encode() for kind, key in _KEY.findall(text)}


def _is_z85(key: bytes) -> bool:
    """True if ZeroMQ can read a key in its printable form."""
    try:
        return len(z85.decode(key)) == _KEY_BYTES
    except (KeyError, ValueError, struct.error):
        return False


def _write_new(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
