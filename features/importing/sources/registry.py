"""The words after `kokyaku import`, and what each needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from features.errors import ConfigError
from features.importing.experiment_mapping import Experiment
from features.importing.mapping import Mapping, refuse_unknown
from features.importing.source import Source
from features.importing.sources import (
    campaigns,
    complete_journey,
    experiment,
    online_retail,
    open_bandit,
    pairs,
    personalize,
)
from features.importing.sources.files import mapped_source, with_format


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """What named sources can be told besides a path.

    Args:
        keep_fees: postage, fees and adjustments count as items (online-retail).
        event_type: the type of all rows (pairs), or of rows without one (personalize).
        items: the items file (personalize).
        users: the users file (personalize).
        experiment: the mapping of an experiment's file (experiment).
        campaigns: the campaigns instead of the purchases (complete-journey).
    """

    keep_fees: bool = False
    event_type: str | None = None
    items: Path | None = None
    users: Path | None = None
    experiment: Experiment | None = None
    campaigns: bool = False


Opener = Callable[[Path | None, Mapping | None, SourceOptions], Source]


def _path(path: Path | None, name: str, hint: str = "") -> Path:
    if path is None:
        raise ConfigError("which file?", where=f"kokyaku import {name}", hint=hint or "add --path FILE")
    return path


def _mapped(name: str) -> Opener:
    def opened(path: Path | None, mapping: Mapping | None, options: SourceOptions) -> Source:
        file = _path(path, name)
        if mapping is None:
            hint = "make one: kokyaku import --inspect FILE --write-mapping mapping.toml"
            raise ConfigError("a mapping is needed", where=f"kokyaku import {name}", hint=hint)
        return mapped_source(file, with_format(mapping, name))

    return opened


def _complete_journey(path: Path | None, mapping: Mapping | None, options: SourceOptions) -> Source:
    folder = path or complete_journey.package_folder()
    return campaigns.open_folder(folder) if options.campaigns else complete_journey.open_folder(folder)


def _experiment(path: Path | None, mapping: Mapping | None, options: SourceOptions) -> Source:
    if options.experiment is None:
        hint = "add --mapping experiment.toml, or --like hillstrom for a public one"
        raise ConfigError("a mapping is needed", where="kokyaku import experiment", hint=hint)
    return experiment.open_file(_path(path, "experiment"), options.experiment)


def _open_bandit(path: Path | None, mapping: Mapping | None, options: SourceOptions) -> Source:
    return open_bandit.open_folder(_path(path, "open-bandit", "add --path FOLDER"))


def _online_retail(path: Path | None, mapping: Mapping | None, options: SourceOptions) -> Source:
    return online_retail.open_file(_path(path, "online-retail"), keep_fees=options.keep_fees)


def _pairs(path: Path | None, mapping: Mapping | None, options: SourceOptions) -> Source:
    if options.event_type is None:
        raise ConfigError("which type of event?", where="kokyaku import pairs", hint="add --type purchase")
    return pairs.open_file(_path(path, "pairs"), options.event_type)


def _personalize(path: Path | None, mapping: Mapping | None, options: SourceOptions) -> Source:
    if path is None and options.items is None and options.users is None:
        hint = "add --interactions FILE, --items FILE or --users FILE"
        raise ConfigError("which files?", where="kokyaku import personalize", hint=hint)
    return personalize.open_files(path, options.items, options.users, event_type=options.event_type)


SOURCES: Final[dict[str, Opener]] = {
    "csv": _mapped("csv"),
    "parquet": _mapped("parquet"),
    "jsonl": _mapped("jsonl"),
    "complete-journey": _complete_journey,
    "experiment": _experiment,
    "online-retail": _online_retail,
    "open-bandit": _open_bandit,
    "pairs": _pairs,
    "personalize": _personalize,
}
"""Format or named source -> how to open it."""


def open_source(
    name: str, path: Path | None = None, mapping: Mapping | None = None, options: SourceOptions | None = None
) -> Source:
    """What to read, by the name of a format or of a known system.

    Args:
        name: a key of SOURCES.
        path: the file (events of personalize; a folder for complete-journey, default: its package).
        mapping: for csv, parquet and jsonl.
        options: of named sources.

    Raises:
        ConfigError: an unknown name, or something that the source needs is missing.
        DataError: a file that cannot be read.
    """
    refuse_unknown([name], SOURCES, "kokyaku import", what="source")
    return SOURCES[name](path, mapping, options or SourceOptions())
