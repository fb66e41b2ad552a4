"""Settings: TOML file, then the command line's options, then `--set`; checked as a whole before any work."""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from posestream.pipeline.publish.topics import replay_address
from posestream.stages.ensemble import EnsembleSettings
from posestream.stages.errors import SettingsError
from posestream.stages.group.group import GroupSettings
from posestream.stages.output.coco import CocoSettings
from posestream.stages.output.csv_file import CsvSettings
from posestream.stages.output.display import DisplaySettings
from posestream.stages.output.images import ImagesSettings
from posestream.stages.output.jsonl import JsonlSettings
from posestream.stages.output.openpose import OpenPoseSettings
from posestream.stages.output.segments import SegmentPlan
from posestream.stages.output.video import VideoSettings
from posestream.stages.redact import redacted_text
from posestream.stages.source.opening import SourceSettings

__all__ = [
    "NetworkTable",
    "OutputTable",
    "PipelineTable",
    "PublishTable",
    "ReplicasTable",
    "SecurityTable",
    "Settings",
    "load_toml",
    "merged",
    "parse_assignment",
    "table_keys",
]

Raw = dict[str, Any]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NetworkTable(_Table):
    """`[network]`: what infers, on what."""

    #: A name from the registry, or "auto".
    model: str = "auto"
    #: A device string, or "auto".
    device: str = "auto"
    #: Height of the network input in pixels.
    net_height: Annotated[int, Field(ge=64, le=4096, multiple_of=8)] = 256
    precision: Literal["auto", "f32", "bf16", "f16"] = "auto"
    #: True: the network sees each picture mirrored too, for twice the inferences.
    flip: bool = False
    #: Sizes at which it sees each picture, as fractions of the network input; one of them is 1.
    scales: tuple[float, ...] = (1.0,)

    @model_validator(mode="after")
    def _check_scales(self) -> Self:
        self.ensemble  # noqa: B018 - it refuses scales without sense
        return self

    @property
    def ensemble(self) -> EnsembleSettings:
        """How often each picture is seen."""
        return EnsembleSettings(flip=self.flip, scales=self.scales)


class ReplicasTable(_Table):
    """`[replicas]`: how many work on the frames."""

    #: A device string per replica; "none" for no replica of our own; empty means one on `network.device`.
    devices: tuple[str, ...] = ()
    #: Replicas on each of them.
    per_device: Annotated[int, Field(ge=1, le=64)] = 1
    #: Frames that a replica's engine works on at once; 0 lets the engine choose.
    requests: Annotated[int, Field(ge=0, le=256)] = 0
    #: Frames of one size that its engine infers together at most; 0 lets the engine choose: one on a processor.
    batch: Annotated[int, Field(ge=0, le=64)] = 0
    #: How long a frame may wait for others that fill its batch, in milliseconds.
    batch_wait_ms: Annotated[float, Field(ge=0, le=1000)] = 5.0
    #: Frames of one source in flight at most; 0 is enough to keep every replica busy.
    window: Annotated[int, Field(ge=0, le=1000)] = 0


class PipelineTable(_Table):
    """`[pipeline]`: what runs where."""

    #: "threads" of one process, or "processes": one for each lane and each replica.
    mode: Literal["threads", "processes"] = "threads"
    #: Addresses where workers of other hosts may join, such as "tcp://127.0.0.1:5555".
    listen: tuple[str, ...] = ()
    #: Addresses where the status is published once a second, such as "tcp://127.0.0.1:5557" or "ipc:///run/me/status".
    status: tuple[str, ...] = ()
    #: Where sources can be changed while the run goes on, which it then does without any: "local" for the socket that
    #: is there anyway, in a folder of this user's alone, or addresses such as "tcp://127.0.0.1:5559".
    control: tuple[str, ...] = ()
    #: True: listen on addresses that others can reach, although nothing authenticates them.
    insecure: bool = False


class SecurityTable(_Table):
    """`[security]`: keys for every TCP address that this run listens on (`keys new` makes them)."""

    #: The secret key of this head, a file that ends with .key_secret; everything over TCP is encrypted with it.
    key: Path | None = None
    #: A folder with the public keys (*.key) of those that may connect, or one such file; without it, whoever has this
    #: head's public key may.
    clients: Path | None = None

    @model_validator(mode="after")
    def _check_clients(self) -> Self:
        if self.clients is not None and self.key is None:
            raise SettingsError("security.clients is given without security.key: nothing would be checked; give both")
        return self


class PublishTable(_Table):
    """`[publish]`: messages for whoever listens, and again for whoever missed some."""

    #: Where subscribers connect, such as "tcp://127.0.0.1:5556" or "ipc:///run/me/poses"; several are allowed.
    addresses: tuple[str, ...] = ()
    #: Where they ask for what they missed; by default the port after each of those, or its file with `.replay` added.
    replay: tuple[str, ...] = ()
    #: Messages that wait for a subscriber at most; further ones are dropped for it alone, until it has caught up.
    queue: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    #: What can be asked for again, of each source: so many messages, bytes and seconds at most.
    log_messages: Annotated[int, Field(ge=1)] = 10_000
    log_bytes: Annotated[int, Field(ge=1 << 16)] = 64 << 20
    log_age_s: Annotated[float, Field(gt=0)] = 3600.0
    #: A folder where it outlives this process; by default it is kept in memory alone.
    log_folder: Path | None = None

    @property
    def replay_addresses(self) -> tuple[str, ...]:
        """Where they can be asked for, the default filled in."""
        return self.replay or tuple(replay_address(address) for address in self.addresses)

    @property
    def bound(self) -> tuple[str, ...]:
        """Every address that is listened on."""
        return (*self.addresses, *self.replay_addresses)


class OutputTable(_Table):
    """`[output.*]`: where results go. `{source}` in a path stands for the source's name."""

    jsonl: JsonlSettings | None = None
    openpose_json: OpenPoseSettings | None = None
    coco: CocoSettings | None = None
    csv: CsvSettings | None = None
    video: VideoSettings | None = None
    images: ImagesSettings | None = None
    display: DisplaySettings | None = None
    #: Lines, rows, results and videos go on in a further file after so many seconds: NAME.000001.jsonl and so on.
    segment_s: Annotated[float, Field(ge=1)] | None = None
    #: The files of each of those recordings have so many megabytes at most: the oldest go.
    quota_mb: Annotated[float, Field(gt=0)] | None = None
    #: True: replace outputs that exist.
    overwrite: bool = False
    #: True: go on where the outputs of an earlier run end, which was killed.
    resume: bool = False

    @model_validator(mode="after")
    def _check_quota(self) -> Self:
        if self.quota_mb is not None and self.segment_s is None:
            raise SettingsError("output.quota_mb removes whole files: give output.segment_s (--segment) too")
        return self

    @property
    def segments(self) -> SegmentPlan | None:
        """How recordings are cut into files; None: they are not."""
        quota = None if self.quota_mb is None else int(self.quota_mb * 1e6)
        return None if self.segment_s is None else SegmentPlan(self.segment_s, quota)


class Settings(_Table):
    """Everything that a run can be told."""

    source: tuple[SourceSettings, ...] = ()
    pipeline: PipelineTable = PipelineTable()
    security: SecurityTable = SecurityTable()
    publish: PublishTable = PublishTable()
    network: NetworkTable = NetworkTable()
    replicas: ReplicasTable = ReplicasTable()
    group: GroupSettings = GroupSettings()
    output: OutputTable = OutputTable()

    @classmethod
    def parse(cls, raw: Mapping[str, Any], origin: str = "settings") -> Settings:
        """Check raw tables, as TOML gives them.

        Raises:
            SettingsError: a key is unknown (its text names the nearest known one) or a value does not fit.
        """
        _check_keys(raw, cls, "", origin)
        try:
            return cls.model_validate(raw)
        except ValidationError as error:
            raise SettingsError(f"{origin}: {_told(error.errors()[0])}") from error


def table_keys() -> dict[str, tuple[str, ...]]:
    """List the keys of each table."""
    return {name: tuple(_keys_of(field.annotation)) for name, field in Settings.model_fields.items()}


def load_toml(path: Path) -> Raw:
    """Read a settings file.

    Raises:
        SettingsError: it is not there, not readable or not TOML.
    """
    try:
        return tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise SettingsError(f"cannot read settings file {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"settings file {path} is not TOML: {error}") from error


def parse_assignment(text: str) -> Raw:
    """Turn `table.key=value` into nested tables; the value is TOML, or a plain string where it is not.

    Raises:
        SettingsError: there is no `=`, or no key before it.
    """
    path, equals, value_text = text.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise SettingsError(f"--set {text}: write it as table.key=value")
    try:
        value = tomllib.loads(f"value = {value_text}")["value"]
    except tomllib.TOMLDecodeError:
        value = value_text.strip()
    for key in reversed(keys):
        value = {key: value}
    return dict(value)


def merged(base: Raw, over: Raw) -> Raw:
    """Lay one tree of tables over another; a list's tables are addressed by number, as in `source.0.name`."""
    result = dict(base)
    for key, value in over.items():
        known = result.get(key)
        if isinstance(value, dict) and isinstance(known, dict):
            result[key] = merged(known, value)
        elif isinstance(value, dict) and isinstance(known, list | tuple):
            result[key] = _merged_list(list(known), value, key)
        else:
            result[key] = value
    return result


def _merged_list(base: list[Any], over: Raw, name: str) -> list[Any]:
    for number, value in over.items():
        if number.isidentifier():
            raise SettingsError(f"{name} is a list, counted from 0: write {name}.0.{number}")
        if not number.isdecimal() or int(number) >= len(base):
            raise SettingsError(f"{name}.{number}: there are {len(base)} of {name}, counted from 0")
        if isinstance(base[int(number)], dict) and not isinstance(value, dict):
            raise SettingsError(f"{name}.{number} is a table: give {name}.{number}.KEY")
        # As a table of its own, so that what is no table (`replicas.devices.0`) is laid over like any other value.
        base[int(number)] = merged({name: base[int(number)]}, {name: value})[name]
    return base


def _told(error: ErrorDetails) -> str:
    """Say in a few words which value does not fit, and why."""
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "missing":
        return f"{key} is missing"
    given = redacted_text(repr(error["input"]))
    return f"{key} = {given}: {_KINDS.get(error['type'], error['msg'][:1].lower() + error['msg'][1:])}"


#: What pydantic tells in terms of this program's classes, by the type of its error.
_KINDS = {
    "model_type": "input should be a table",
    "dataclass_type": "input should be a table",
    "tuple_type": "input should be a list",
    "path_type": "input should be a path in quotes",
    "bool_parsing": "input should be true or false",
    "int_parsing": "input should be a whole number",
    "float_parsing": "input should be a number",
}


def _check_keys(raw: object, annotation: Any, path: str, origin: str) -> None:
    """Refuse keys that nobody reads, before their values are looked at."""
    kind = _without_none(annotation)
    if get_origin(kind) is tuple and isinstance(raw, list | tuple):
        for number, value in enumerate(raw):
            _check_keys(value, get_args(kind)[0], f"{path}{number}.", origin)
    known = _keys_of(kind)
    if not known or not isinstance(raw, Mapping):
        return
    for key, value in raw.items():
        if key not in known:
            raise SettingsError(f"{origin}: unknown key {path}{key}{_nearest(key, known, path)}")
        _check_keys(value, known[key], f"{path}{key}.", origin)


def _without_none(annotation: Any) -> Any:
    """Give X for `X | None`."""
    arguments = [kind for kind in get_args(annotation) if kind is not type(None)]
    return arguments[0] if len(arguments) == 1 and type(None) in get_args(annotation) else annotation


def _keys_of(kind: Any) -> dict[str, Any]:
    """List a table's keys with their types; none for what is not a table."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {name: field.annotation for name, field in kind.model_fields.items()}
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return get_type_hints(kind)
    return {}


def _nearest(key: str, known: Iterable[str], path: str) -> str:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    return f"; did you mean {path}{near[0]}?" if near else f"; known are: {', '.join(known)}"
