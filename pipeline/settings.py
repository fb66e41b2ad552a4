"""Settings: TOML file, then the command line's options, then `--set`; checked as a whole before any work."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from posestream.pipeline.publish.topics import replay_address
from posestream.pipeline.raw_tables import check_keys, check_values, keys_of
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
from posestream.stages.redact import told_value
from posestream.stages.source.opening import SourceSettings

__all__ = [
    "NO_DEVICE",
    "NetworkTable",
    "OutputTable",
    "PipelineTable",
    "PublishTable",
    "ReplicasTable",
    "SecurityTable",
    "Settings",
    "table_keys",
]

#: In place of devices: no replica of our own.
NO_DEVICE = "none"


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
    #: How long an inference, or grouping, may take beyond ten times the longest before, in seconds; then it hangs, and
    #: its frames are given to another replica. The first inferences of a size have three minutes.
    hang_s: Annotated[float, Field(gt=0, le=3600)] = 30.0
    #: Frames of one source in flight at most; 0 is enough to keep every replica busy.
    window: Annotated[int, Field(ge=0, le=1000)] = 0

    @model_validator(mode="after")
    def _check_devices(self) -> Self:
        if NO_DEVICE in self.devices and len(self.devices) > 1:
            raise SettingsError(
                f"replicas.devices = {list(self.devices)}: {NO_DEVICE!r} means no replica of our own, and stands alone"
            )
        return self


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
    #: Those given belong to the addresses in order: the first tcp one to the first tcp one, and so on.
    replay: tuple[str, ...] = ()
    #: Messages that wait for a subscriber at most; further ones are dropped for it alone, until it has caught up.
    queue: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    #: What can be asked for again, of each source: so many messages, bytes and seconds at most.
    log_messages: Annotated[int, Field(ge=1)] = 10_000
    log_bytes: Annotated[int, Field(ge=1 << 16)] = 64 << 20
    log_age_s: Annotated[float, Field(gt=0)] = 3600.0
    #: A folder where it outlives this process; by default it is kept in memory alone.
    log_folder: Path | None = None

    @model_validator(mode="after")
    def _check_addresses(self) -> Self:
        if not self.addresses and (self.replay or self.log_folder is not None):
            what, option = ("replay", "") if self.replay else ("log_folder", " (--replay-log)")
            raise SettingsError(
                f"publish.{what}{option} is given without publish.addresses (--publish): nothing would be published; "
                "give both"
            )
        return self

    @property
    def replay_addresses(self) -> tuple[str, ...]:
        """Where they can be asked for, the default filled in."""
        return self.replay or tuple(replay_address(address) for address in self.addresses)


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
    #: The files of each of those recordings have so many megabytes at most, the one that is being written included: the
    #: oldest go, and one that has half of them is followed by the next before its seconds are over. What an encoder
    #: writes at once, some seconds of video, is the least that can be kept to.
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
        check_keys(raw, cls, origin)
        check_values(raw, cls, origin)
        try:
            return cls.model_validate(raw)
        except ValidationError as error:
            raise SettingsError(f"{origin}: {_told(error.errors()[0])}") from error


def table_keys() -> dict[str, tuple[str, ...]]:
    """List the keys of each table."""
    return {name: tuple(keys_of(field.annotation)) for name, field in Settings.model_fields.items()}


def _told(error: ErrorDetails) -> str:
    """Say in a few words which value does not fit, and why."""
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "missing":
        return f"{key} is missing"
    given = told_value(key, error["input"])
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
