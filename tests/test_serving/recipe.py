"""The Containerfile as its builder reads it, for tests that do what it does."""

from __future__ import annotations

import json
import re
from pathlib import Path

CONTAINERFILE = Path(__file__).parents[2] / "serving" / "deploy" / "Containerfile"


def recipe() -> list[tuple[str, str]]:
    """(instruction, rest) in order, continued lines joined."""
    text = CONTAINERFILE.read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1].strip()) for line in lines]


def words(instruction: str) -> list[str]:
    """The words of the last CMD or HEALTHCHECK."""
    found: list[str] = json.loads(re.sub(r"^.*?\[", "[", dict(recipe())[instruction]))
    return found


def environment() -> dict[str, str]:
    """What the image sets."""
    return dict(re.findall(r"(\w+)=(\S+)", dict(recipe())["ENV"]))
