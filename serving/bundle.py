"""The bundle: what was learned of items and of no person, in flat arrays.

The reader owns the format and the trainer writes through it. A bundle in memory (`Bundle(manifest, arrays)`) and
one mapped from disk (`open_bundle`) are the same class, so what is evaluated is what is published.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
import numpy.typing as npt

from features.assemble import FINGERPRINT, SharedTables
from features.compiled import available, scratch
from features.errors import BundleError
from features.ids import Array, Vocabulary
from serving.artifact import AGAIN, Artifact, live_name, write_artifact
from serving.recipe import Recipe, from_json
from serving.texts_kernel import collect

KIND = "bundle"
FORMAT = 3
"""3: an index is exact (`serving.sources.index`), and neighbours stand beside their weights (`serving.sources.edges`);
those of bundles of before are made anew when they are opened."""
_ROOM = 16_384
"""Bytes for the ids or texts of one list; where they do not do, they are read one by one."""
_REMEMBERED = 16_384
"""So many are remembered."""


@dataclass(frozen=True)
class Bundle:
    """Items, shared statistics and fitted sources as of a moment."""

    manifest: Mapping[str, Any]
    arrays: Mapping[str, Array]
    items: Vocabulary = field(init=False)
    codes_under: Callable[[tuple[str, ...]], frozenset[int]] = field(init=False)
    """`categories_under` as a set, remembered for the paths that were asked for lately."""
    title: Callable[[int], str] = field(init=False)
    """The title of an item, or its id where it has none; remembered for those that were asked for lately."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "items", Vocabulary.from_arrays(self.arrays, "items"))
        # A memory that held its bundle would keep it, its open files and its mappings after a swap.
        mine = weakref.proxy(self)
        object.__setattr__(self, "codes_under", lru_cache(maxsize=1024)(partial(Bundle._codes_under, mine)))
        object.__setattr__(self, "title", lru_cache(maxsize=_REMEMBERED)(partial(Bundle._title, mine)))

    @property
    def id(self) -> str:
        """Its name, e.g. `20171201T000000Z-blend-1f3a`."""
        return str(self.manifest["bundle_id"])

    @property
    def as_of(self) -> int:
        """The instant up to which it has seen events."""
        return int(self.manifest["as_of"])

    @cached_property
    def recipe(self) -> Recipe:
        """Sources and weights that it serves with.

        Raises:
            BundleError: a program that knows more wrote it.
        """
        try:
            return from_json(self.manifest["recipe"])
        except msgspec.ValidationError as error:
            hint = "update, or train again with this program"
            raise BundleError(
                "the recipe of a bundle makes no sense", where=self.id, got=str(error), hint=hint
            ) from None

    @cached_property
    def kinds(self) -> dict[str, str]:
        """The kind of each source of the recipe."""
        return {spec.name: spec.kind for spec in self.recipe.sources}

    @cached_property
    def catalogue(self) -> npt.NDArray[np.bool_]:
        """bool[n_items]: bought by enough customers to be recommended."""
        return cast("npt.NDArray[np.bool_]", self.arrays["item.catalogue"])

    @cached_property
    def shared(self) -> SharedTables:
        """The shared statistics of items, for the feature assembler."""
        return SharedTables.from_arrays(self.arrays)

    @cached_property
    def categories(self) -> tuple[str, ...]:
        """The path of each category code."""
        count = int(self.shared.category.max(initial=-1)) + 1
        return tuple(self.text("category_path", code) for code in range(count))

    def categories_under(self, prefixes: Iterable[str]) -> npt.NDArray[np.int32]:
        """Codes of the category paths that begin with one of the prefixes."""
        wanted = tuple(prefixes)
        return np.array([code for code, path in enumerate(self.categories) if path.startswith(wanted)], np.int32)

    def _codes_under(self, prefixes: tuple[str, ...]) -> frozenset[int]:
        return frozenset(self.categories_under(prefixes).tolist())

    def source_arrays(self, name: str) -> dict[str, Array]:
        """The arrays of one candidate source, without their prefix."""
        prefix = f"source.{name}."
        return {key.removeprefix(prefix): array for key, array in self.arrays.items() if key.startswith(prefix)}

    def ranker_arrays(self, name: str, task: str) -> dict[str, Array]:
        """The trees of a ranker for one task, without their prefix; empty where there are none."""
        prefix = f"ranker.{name}.{task}."
        return {key.removeprefix(prefix): array for key, array in self.arrays.items() if key.startswith(prefix)}

    def ids_of(self, rows: npt.NDArray[np.int32]) -> list[str]:
        """The ids of the items of a list.

        Raises:
            IndexError: a row that is none.
        """
        found = _together(self.items.blob, self.items.offsets, rows)
        return [self.items[row] for row in rows.tolist()] if found is None else found

    def texts(self, column: str, rows: npt.NDArray[np.int32]) -> list[str]:
        """`text` of the items of a list."""
        blob, offsets = (self.arrays[f"text.{column}.{part}"] for part in ("blob", "offsets"))
        found = _together(blob, offsets, rows)
        return [self.text(column, row) for row in rows.tolist()] if found is None else found

    def text(self, column: str, row: int) -> str:
        """A text column of an item (`title`, `category`, `brand`, `image_url`); empty where unknown."""
        offsets, blob = self._texts.get(column) or self._text_column(column)
        return str(blob[offsets[row] : offsets[row + 1]], "utf-8")

    def _title(self, row: int) -> str:
        return self.text("title", row) or self.items[row]

    @cached_property
    def _texts(self) -> dict[str, tuple[memoryview, memoryview]]:
        return {}

    def _text_column(self, column: str) -> tuple[memoryview, memoryview]:
        offsets, blob = (memoryview(self.arrays[f"text.{column}.{part}"]) for part in ("offsets", "blob"))  # type: ignore[arg-type]
        found = offsets, blob
        self._texts[column] = found
        return found


def _together(blob: Array, offsets: Array, rows: npt.NDArray[np.int32]) -> list[str] | None:
    """The texts of some rows; None where they have to be read one by one."""
    if not available() or not len(rows):
        return None
    room: Array = scratch("lines", _ROOM, np.uint8)
    size = collect(blob, offsets, rows, room)
    return room[: size - 1].tobytes().decode("utf-8", "surrogatepass").split("\n") if size > 0 else None


def text_of(arrays: Mapping[str, Array], column: str, row: int) -> str:
    """A text of a column that `text_arrays` made."""
    start, end = arrays[f"text.{column}.offsets"][row : row + 2].tolist()
    return arrays[f"text.{column}.blob"][start:end].tobytes().decode()


def text_arrays(column: str, texts: list[str]) -> dict[str, Array]:
    """A text column as a UTF-8 blob and offsets; `Bundle.text` reads it."""
    encoded = [text.encode() for text in texts]
    lengths = np.fromiter((len(raw) for raw in encoded), np.int64, len(encoded))
    return {
        f"text.{column}.blob": np.frombuffer(b"".join(encoded), np.uint8),
        f"text.{column}.offsets": np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]),
    }


def write_bundle(folder: Path, bundle: Bundle) -> None:
    """Write a bundle as a whole; it serves only once something points at it."""
    write_artifact(folder, bundle.arrays, {**bundle.manifest, "kind": KIND, "format": FORMAT})


def open_bundle(folder: Path, *, verify: bool = True) -> Bundle:
    """Map a published bundle.

    Raises:
        BundleError: damaged, or its features are not those that this program computes.
    """
    artifact = Artifact.open(folder, kind=KIND, format=FORMAT, verify=verify)
    fingerprint = artifact.manifest.get("features")
    if fingerprint != FINGERPRINT:
        hint = "train again with this version"
        raise BundleError("made for other features", where=str(folder), got=fingerprint, hint=hint)
    try:
        return Bundle(artifact.manifest, artifact.arrays)
    except KeyError as error:
        raise BundleError("an array is missing", where=str(folder), got=error.args[0], hint=AGAIN) from None


def open_live_bundle(parent: Path, *, verify: bool = True) -> Bundle | None:
    """The bundle that should serve, or None when none was promoted yet."""
    name = live_name(parent)
    return None if name is None else open_bundle(parent / name, verify=verify)
