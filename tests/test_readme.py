"""The README tells what is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

_ROOT = Path(__file__).parent.parent
_README = (_ROOT / "README.md").read_text("utf-8")


def _first_line(path: Path) -> str:
    if path.suffix in (".c", ".h"):
        comment = re.match(r"/\* (.+?)(?: \*/)?$", path.read_text("utf-8"), re.MULTILINE)
        assert comment, f"{path} does not say what it is for"
        return comment[1]
    docstring = ast.get_docstring(ast.parse(path.read_text("utf-8")))
    assert docstring, f"{path} does not say what it is for"
    return docstring.splitlines()[0]


@pytest.mark.parametrize("folder", ["models", "stages", "pipeline"])
def test_the_map_has_every_file_with_its_purpose(folder: str) -> None:
    """Each file is on the map once, in the words of its own first line, and nothing else is."""
    section = _README.split(f"**`{folder}/`**", 1)[1].split("**`", 1)[0]
    told = dict(re.findall(r"^\| `([^`]+)` \| (.+) \|$", section, re.MULTILINE))
    paths = [path for path in (_ROOT / folder).rglob("*.[pch]*") if path.suffix in (".py", ".c", ".h")]
    paths = [path for path in paths if path.name != "__init__.py"]
    paths += [_ROOT / "models/engines/__init__.py"] if folder == "models" else []

    found = {path.relative_to(_ROOT / folder).as_posix(): _first_line(path) for path in paths}
    assert {name: text.replace(r"\|", "|") for name, text in told.items()} == found


def test_links_lead_somewhere() -> None:
    """Every file that the README links to is there."""
    links = re.findall(r"\]\(([^)#:]+)\)", _README)
    assert links
    assert [link for link in links if not (_ROOT / link).exists()] == []
