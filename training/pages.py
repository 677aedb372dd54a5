"""Pages and cards from templates: one style for all of them, self-contained, nothing is fetched."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from typing import Any

import jinja2


def rendered(name: str, **values: Any) -> str:
    """A template of this package, filled in.

    Args:
        name: path below `training/`; what ends in `.html.j2` is escaped as HTML, Markdown is not.
        values: what it shows.
    """
    return _environment().get_template(name).render(**values)


def pictures_of(plots: Mapping[str, bytes], titles: Mapping[str, str]) -> list[tuple[str, str]]:
    """Heading and PNG (base64) of each plot that is there, in the order of the titles."""
    return [(title, base64.b64encode(plots[name]).decode()) for name, title in titles.items() if name in plots]


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FunctionLoader(_source),
        autoescape=jinja2.select_autoescape(["html.j2"], default=False),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )


def _source(name: str) -> str:
    return resources.files("training").joinpath(name).read_text(encoding="utf-8")
