"""Keys as files."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import zmq.auth

from posestream.pipeline.security.allowed import AllowedFiles
from posestream.pipeline.security.keys import read_pair, read_public, write_new_pair
from posestream.stages.errors import SettingsError


def test_new_keys_are_for_their_owner_alone_and_any_zeromq_program_reads_them(tmp_path: Path) -> None:
    """Both files have mode 0600 in a folder of 0700, and pyzmq's own reader finds the same keys in them."""
    public_path, secret_path = write_new_pair("head", tmp_path / "keys")

    modes = [stat.S_IMODE(path.stat().st_mode) for path in (public_path, secret_path, tmp_path / "keys")]
    assert modes == [0o600, 0o600, 0o700]
    pair = read_pair(secret_path)
    assert zmq.auth.load_certificate(secret_path) == (pair.public, pair.secret)
    assert read_public(public_path) == pair.public
    assert pair.secret not in public_path.read_bytes()


def test_keys_are_never_replaced(tmp_path: Path) -> None:
    """A second pair of the same name is refused, and the first one is untouched."""
    _, secret_path = write_new_pair("head", tmp_path)
    before = secret_path.read_bytes()
    with pytest.raises(SettingsError, match="exists"):
        write_new_pair("head", tmp_path)
    assert secret_path.read_bytes() == before


def test_a_public_key_alone_gets_no_secret_of_another_pair(tmp_path: Path) -> None:
    """Where either file exists nothing is written."""
    (tmp_path / "head.key").write_text("mine")
    with pytest.raises(SettingsError, match="exists"):
        write_new_pair("head", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["head.key"]


def test_a_repr_shows_no_key(tmp_path: Path) -> None:
    """What ends up in a log by way of `repr` or an error has no key in it."""
    pair = read_pair(write_new_pair("head", tmp_path)[1])
    assert pair.secret.decode() not in repr(pair)
    assert pair.public.decode() not in repr(pair)


def test_a_secret_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """A secret file with a wider mode is not used, and the error says what to do."""
    _, secret_path = write_new_pair("head", tmp_path)
    secret_path.chmod(0o640)
    with pytest.raises(SettingsError, match="chmod 600"):
        read_pair(secret_path)


@pytest.mark.parametrize(
    ("text", "match"),
    [("", "no secret key"), ('curve\n public-key = "short"\n', "no secret key")],
)
def test_a_file_without_keys_is_refused(tmp_path: Path, text: str, match: str) -> None:
    """A file of something else is named in the error."""
    path = tmp_path / "odd.key_secret"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(SettingsError, match=match):
        read_pair(path)


def test_keys_of_different_pairs_are_refused(tmp_path: Path) -> None:
    """A secret beside somebody else's public key is found out before it is used."""
    first, second = (write_new_pair(name, tmp_path)[1] for name in ("a", "b"))
    mixed = first.read_text().replace(read_pair(first).public.decode(), read_pair(second).public.decode())
    first.write_text(mixed)
    with pytest.raises(SettingsError, match="do not belong together"):
        read_pair(first)


@pytest.mark.parametrize("key", ["\\" * 40, "#" * 40, "é" * 40])
def test_a_damaged_public_key_is_refused_by_its_file(tmp_path: Path, key: str) -> None:
    """What has a key's length and is no Z85 is told with the file's name, for a head's key and a client's alike."""
    path = tmp_path / "head.key"
    path.write_text(f'curve\n    public-key = "{key}"\n', encoding="utf-8")
    for read in (read_public, AllowedFiles):
        with pytest.raises(SettingsError, match=r"head\.key: its public key is damaged"):
            read(path)
