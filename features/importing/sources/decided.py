"""What sources of decisions share: columns they prepare, lists of eligible actions, outcomes beside the decision."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from features import columns as c
from features.importing.identity import quoted
from features.importing.mapping import Mapping
from features.importing.raw import Raw
from features.importing.source import Derived, Piece
from features.importing.values import json_lists

Doubles = npt.NDArray[np.float64]

ROW: Final = "kokyaku row"
"""Name of the column that numbers the rows of a file, from 1."""
PREPARED: Final = (c.DECISION_ID, c.REQUEST_ID, c.DECIDED_AT, "eligible", c.ACTION_ID, "action_propensity", "policy")
"""Columns of decisions that every source of decisions prepares under our names."""
CONSTANTS: Final[dict[str, str | int | float | bool]] = {
    "draw_order": 0, "vetoed": "[]", "bundle_id": "none", "shop_hash": "none", "holdout": False, "logged": True,
}  # fmt: skip


def decisions_mapping(source: str, prepared: Iterable[str], constants: dict[str, Any], **reading: Any) -> Mapping:
    """The mapping of a feed whose `prepare` writes our columns.

    Args:
        source: name of the source.
        prepared: columns besides PREPARED.
        constants: besides CONSTANTS.
        reading: how the file is written (format, delimiter, nulls ...).
    """
    columns: dict[str, str | list[str]] = {name: name for name in (*PREPARED, *prepared)}
    return Mapping(
        source=source, table="decisions", columns=columns, constants={**CONSTANTS, **constants}, **reading
    )  # fmt: skip


def eligible_lists(actions: Sequence[str | None], chances: Doubles) -> pa.Array:
    """The eligible actions with their probabilities as JSON, one list a row.

    Args:
        actions: ids; None is the null action.
        chances: float64[n, k]; NaN where the action was eligible and nobody recorded its probability.
    """
    pieces = []
    for place, action in enumerate(actions):
        known = pa.array(chances[:, place], pa.float64(), from_pandas=True).cast(pa.string())
        head = f"[{orjson.dumps(action).decode()},"
        pieces.append(pc.binary_join_element_wise(head, pc.fill_null(known, "null"), "]", ""))
    return pc.binary_join_element_wise("[", pc.binary_join_element_wise(*pieces, ","), "]", "")


def features_text(columns: dict[str, pa.Array], categorical: Sequence[bool], rows: int) -> pa.Array:
    """What was known before each decision, as the `features` of decisions."""
    names = orjson.dumps(list(columns)).decode()
    tail = f'],"categorical":{orjson.dumps(list(categorical)).decode()}}}'
    values = json_lists(list(columns.values()), rows)
    return pc.binary_join_element_wise(f'{{"names":{names},"rows":[', values, tail, "")


def propensities(chances: Doubles) -> pa.Array:
    """Probabilities as a column; null where nobody recorded it."""
    return pa.array(chances, pa.float64(), from_pandas=True)


def carried(reward: int, part: str) -> str:
    """Name of a staged column with one part (value, margin, at) of an outcome."""
    return f"outcome_{reward}_{part}"


def outcomes_of(rewards: Sequence[str], parts: Sequence[Sequence[str]]) -> Derived:
    """Outcomes from columns that were staged beside the decisions; an unknown value is NaN.

    Args:
        rewards: names.
        parts: of each reward, which of `value`, `margin` and `at` are staged.
    """
    selects = []
    for place, (reward, given) in enumerate(zip(rewards, parts, strict=True)):
        margin = carried(place, "margin") if "margin" in given else "NULL::DOUBLE"
        at = carried(place, "at") if "at" in given else "NULL::TIMESTAMPTZ"
        value = f"coalesce({carried(place, 'value')}, 'NaN'::DOUBLE)"
        selects.append(
            f"SELECT row_at AS decided_row, {c.DECISION_ID}, {quoted(reward)} AS reward, {value} AS value, "
            f'{margin} AS margin, {at} AS "at" FROM staged_decisions'
        )
    return Derived("outcomes", " UNION ALL ".join(selects))


def numbered(pieces: Callable[[], Iterator[Piece]]) -> Callable[[], Iterator[Piece]]:
    """The same pieces with a column ROW: the number of each row among the file's records."""

    def counting() -> Iterator[Piece]:
        before = 0
        for piece in pieces():
            raw = piece()  # read here, because its number depends on all before it
            yield partial(_as_read, Raw(_with_row(raw, before), raw.at, raw.bad, raw.lines))
            before += raw.read

    return counting


def _with_row(raw: Raw, before: int) -> pa.Table:
    return raw.rows.append_column(ROW, pa.array(raw.at + (before + 1)).cast(pa.string()))


def _as_read(raw: Raw) -> Raw:
    return raw
