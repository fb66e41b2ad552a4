"""COCO's annotations of people's keypoints, checked as a whole before any work, every fault named by its entry."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posestream.stages.errors import SourceError
from posestream.stages.output.coco import COCO_KEYPOINTS, PERSON_CATEGORY

__all__ = ["Annotations", "read_annotations"]

#: Numbers of each keypoint: x, y and whether it is labelled or seen.
_PER_KEYPOINT = 3


@dataclass(frozen=True, slots=True)
class Annotations:
    """A file's whole content, and the file name of each picture that has labelled keypoints, by its id."""

    dataset: Mapping[str, Any]
    names: Mapping[int, str]


class _FaultError(Exception):
    """What is wrong with an entry, in words."""


def read_annotations(path: Path) -> Annotations:
    """Read and check a file; entries of other categories than people are not looked at.

    Raises:
        SourceError: it cannot be read, is not in COCO's format, or has no picture with labelled keypoints.
    """
    try:
        dataset = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SourceError(f"cannot read annotations {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise SourceError(f"annotations {path} are not COCO keypoints in JSON") from error
    try:
        names = _checked(dataset)
    except _FaultError as fault:
        raise SourceError(f"annotations {path}: {fault}") from None
    if not names:
        raise SourceError(f"annotations {path} have no picture with labelled keypoints")
    return Annotations(dataset, names)


def _checked(dataset: Any) -> dict[int, str]:
    """Give the names of labelled pictures, or raise the first fault."""
    if not isinstance(dataset, dict):
        raise _FaultError("no JSON object, so not in COCO's format")
    categories = _ids(_entries(dataset, "categories"), "categories")
    if PERSON_CATEGORY not in categories:
        raise _FaultError(f"the categories lack {PERSON_CATEGORY}, which is people")
    pictures = _ids(_entries(dataset, "images"), "images")
    for where, picture in pictures.values():
        if not isinstance(picture.get("file_name"), str) or not picture["file_name"]:
            raise _FaultError(f'{where} has no "file_name"')
    labelled = set()
    for where, entry in _ids(_entries(dataset, "annotations", may_be_empty=True), "annotations").values():
        if not _is_whole(entry.get("category_id")) or entry["category_id"] not in categories:
            raise _FaultError(f"{where} is of the category {_told(entry, 'category_id')}, which is not listed")
        if entry["category_id"] != PERSON_CATEGORY:
            continue
        _check_person(where, entry)
        if entry["image_id"] not in pictures:
            raise _FaultError(f"{where} is of the picture {entry['image_id']}, which is not among the images")
        if entry["num_keypoints"]:
            labelled.add(entry["image_id"])
    return {image_id: pictures[image_id][1]["file_name"] for image_id in sorted(labelled)}


def _entries(dataset: Mapping[str, Any], key: str, *, may_be_empty: bool = False) -> list[Any]:
    """Give one of the file's lists."""
    entries = dataset.get(key)
    if not isinstance(entries, list) or not (entries or may_be_empty):
        raise _FaultError(f'no list of "{key}"' if not isinstance(entries, list) else f'"{key}" is empty')
    return entries


def _ids(entries: Sequence[Any], key: str) -> dict[int, tuple[str, dict[str, Any]]]:
    """Give entries by their ids, each with what it is called."""
    found: dict[int, tuple[str, dict[str, Any]]] = {}
    for number, entry in enumerate(entries):
        # pycocotools takes an annotation with the id 0 for none, and tells a lower precision without a word.
        least = 1 if key == "annotations" else 0
        if not isinstance(entry, dict) or not _is_whole(entry.get("id")) or entry["id"] < least:
            raise _FaultError(f'{key}[{number}] has no "id" that is a whole number from {least} on')
        if entry["id"] in found:
            raise _FaultError(f"{key}[{number}] has the id {entry['id']}, as {found[entry['id']][0]} has")
        found[entry["id"]] = f"{key}[{number}] (id {entry['id']})", entry
    return found


def _check_person(where: str, entry: Mapping[str, Any]) -> None:
    """Raise what a person's entry lacks."""
    for key, count in (("keypoints", _PER_KEYPOINT * len(COCO_KEYPOINTS)), ("bbox", 4)):
        values = entry.get(key)
        if not isinstance(values, list) or len(values) != count or not all(map(_is_number, values)):
            raise _FaultError(f'{where} has no "{key}" that are {count} numbers')
    if not _is_number(entry.get("area")) or entry["area"] < 0:
        raise _FaultError(f'{where} has no "area" that is a number from 0 on')
    if not _is_whole(entry.get("image_id")):
        raise _FaultError(f'{where} has no "image_id" that is a whole number')
    if not _is_whole(entry.get("num_keypoints")) or not 0 <= entry["num_keypoints"] <= len(COCO_KEYPOINTS):
        raise _FaultError(f'{where} has no "num_keypoints" from 0 to {len(COCO_KEYPOINTS)}')
    if not _is_whole(entry.get("iscrowd")) or entry["iscrowd"] not in (0, 1):
        raise _FaultError(f'{where} has no "iscrowd" that is 0 or 1')


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _told(entry: Mapping[str, Any], key: str) -> str:
    """Give a value as the file has it."""
    return json.dumps(entry.get(key))
