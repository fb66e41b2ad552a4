"""Draws some frames of a JSONL file as one SVG: python docs/skeletons.py out/demo.jsonl 20 > docs/demo.svg."""

from __future__ import annotations

import json
import sys
from typing import Any

from posestream.models.layout import LAYOUTS

#: Colours of limbs on the person's right, left and middle.
COLOURS = {"right": "#f0563f", "left": "#3f8ff0", "": "#d9a400"}


def limbs(person: dict[str, Any], layout_name: str, opacity: float) -> list[str]:
    """Give the lines of one person."""
    layout = LAYOUTS[layout_name]
    lines = []
    for first, second in layout.limbs:
        start, end = person["keypoints"][first], person["keypoints"][second]
        # The ears' limbs to the shoulders help grouping; drawn, they only confuse.
        is_hidden = {"ear", "shoulder"} <= {layout.keypoints[i].rpartition("_")[2] for i in (first, second)}
        if start is None or end is None or is_hidden:
            continue
        side = next((s for s in ("right", "left") if layout.keypoints[second].startswith(s)), "")
        lines.append(
            f'<line x1="{start[0]:.0f}" y1="{start[1]:.0f}" x2="{end[0]:.0f}" y2="{end[1]:.0f}" '
            f'stroke="{COLOURS[side]}" stroke-opacity="{opacity:.2f}"/>'
        )
    return lines


def main() -> None:
    """Draw every so-manieth frame, the later ones stronger."""
    path, step = sys.argv[1], int(sys.argv[2])
    with open(path, encoding="utf-8") as lines:  # noqa: PTH123 - a script of one page
        messages = [message for message in map(json.loads, lines) if message["type"] == "poses"]
    width, height = messages[0]["width"], messages[0]["height"]
    chosen = messages[::step]
    size = f'viewBox="0 0 {width} {height}" width="720" height="{720 * height // width}"'
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        f"<title>{len(chosen)} frames of {messages[0]['source']}</title>",
        f'<rect width="{width}" height="{height}" fill="#f6f6f2"/>',
        '<g stroke-width="9" stroke-linecap="round">',
    ]
    for number, message in enumerate(chosen, 1):
        for person in message["people"]:
            out += limbs(person, message["layout"], 0.25 + 0.75 * number / len(chosen))
    sys.stdout.write("\n".join([*out, "</g>", "</svg>"]) + "\n")


if __name__ == "__main__":
    main()
