"""The mapping file of an experiment: which column is the arm, with which probability it was drawn, and what came of it.

experiment = "spring-mail"
surface = "email"
subject = "customer_no"
moment = "sent_at"              # or at = "2024-03-01"
time_zone = "Asia/Tokyo"
arm = "group"
control = ["none"]              # these arms got nothing
[actions]                       # arm -> action id
"A" = "mail-tea"
[shares]                        # or propensity = "column", or [propensities] with a column per arm
"none" = "1/2"
"A" = "1/2"
[covariates]                    # known before the decision
age = "age"
prefecture = {column = "pref", kind = "text"}
[outcomes]                      # what came of it
bought = {column = "revenue", margin = "gross_margin", at = "ordered_at"}
"""

from __future__ import annotations

import tomllib
from fractions import Fraction
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from features.errors import ConfigError, NotFoundError
from features.importing.mapping import Encoding, read_toml, refuse_unknown
from features.moments import parse_instant

SHIPPED: Final = ("hillstrom",)
"""Names that `--like` knows: mappings of public experiments, which come with Kokyaku."""
BEFORE: Final = "before:"
"""Outcomes whose names begin so happened before the decision: no action can have changed them (placebos)."""
SUM_TOLERANCE: Final = 1e-6
"""How far probabilities of one decision may sum from 1: files round them."""


class Covariate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was known of the subject before the decision."""

    column: str
    kind: Literal["number", "text", "boolean"] = "number"


class Result(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What came of a decision: a value, where known its margin, and when."""

    column: str
    margin: str | None = None
    at: str | None = None


class Experiment(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One row of the file is one subject and decision."""

    experiment: str
    """Its name; part of every decision's id, so keep it."""
    surface: str
    slot: str = "campaign"
    format: Literal["csv", "parquet"] | None = None
    """Default: what the file's ending says."""
    delimiter: str = ","
    encoding: Encoding = "auto"
    decimal: Literal[".", ","] = "."
    nulls: list[str] = []
    time_formats: list[str] = msgspec.field(default_factory=lambda: ["iso"])
    time_zone: str | None = None
    subject: str | None = None
    """Their column; without one every row is somebody else, known by its place in the file."""
    subject_kind: Literal["customer", "visitor"] = "customer"
    moment: str | None = None
    """Their column of when it was decided."""
    at: str | None = None
    """Or one moment for all rows."""
    arm: str
    control: list[str] = []
    """Values of the arm that mean: nothing was done."""
    actions: dict[str, str] = {}
    """Values of the arm -> action id."""
    shares: dict[str, float | str] = {}
    """Arm -> probability, the same for all: a number or a fraction such as "1/3"."""
    propensity: str | None = None
    """Their column with the probability of the arm that was drawn."""
    propensities: dict[str, str] = {}
    """Arm -> their column with its probability."""
    covariates: dict[str, Covariate | str] = {}
    outcomes: dict[str, Result | str] = {}
    observational: bool = False
    """Nobody drew the arms at random: no probability is recorded, and results are marked as estimates."""

    @property
    def arms(self) -> dict[str, str | None]:
        """Value of the arm -> action id, None for nothing."""
        return {**dict.fromkeys(self.control), **self.actions}

    @property
    def policy(self) -> str:
        """As it stands in the decisions."""
        return f"{'observational' if self.observational else 'experiment'}:{self.experiment}"

    def their_columns(self) -> list[str]:
        """All columns of the file that are named, each once."""
        single = [self.subject, self.moment, self.arm, self.propensity, *self.propensities.values()]
        known = [covariate_of(given).column for given in self.covariates.values()]
        after = [name for given in self.outcomes.values() for name in _columns_of(result_of(given))]
        return list(dict.fromkeys(name for name in [*single, *known, *after] if name is not None))


def covariate_of(given: Covariate | str) -> Covariate:
    """The long form of a covariate."""
    return Covariate(given) if isinstance(given, str) else given


def result_of(given: Result | str) -> Result:
    """The long form of an outcome."""
    return Result(given) if isinstance(given, str) else given


def _columns_of(result: Result) -> list[str]:
    return [name for name in (result.column, result.margin, result.at) if name is not None]


def share_of(given: float | str, where: str) -> float:
    """A probability, written as a number or as a fraction.

    >>> share_of("1/4", "")
    0.25

    Raises:
        ConfigError: neither, or not in (0, 1].
    """
    try:
        share = float(Fraction(given.strip())) if isinstance(given, str) else float(given)
    except (ValueError, ZeroDivisionError):
        raise ConfigError("not a probability", where=where, got=given, hint='write .5 or "1/2"') from None
    if not 0 < share <= 1:
        raise ConfigError("a probability outside (0, 1]", where=where, got=given)
    return share


def load_experiment(path: Path) -> Experiment:
    """Read an experiment's mapping file.

    Raises:
        ConfigError: not readable, not TOML, or it does not make sense; says where and what to write.
    """
    return parse_experiment(read_toml(path), where=str(path))


def shipped_experiment(name: str) -> Experiment:
    """The mapping of a public experiment that comes with Kokyaku.

    Raises:
        NotFoundError: there is none of that name.
    """
    if name not in SHIPPED:
        hint = f"known: {', '.join(SHIPPED)}; for your own file write a mapping and give --mapping"
        raise NotFoundError("no such shipped mapping", where="--like", got=name, hint=hint)
    text = (files("features.importing.sources") / f"{name}.toml").read_text(encoding="utf-8")
    return parse_experiment(tomllib.loads(text), where=f"{name}.toml")


def parse_experiment(raw: dict[str, Any], *, where: str = "mapping") -> Experiment:
    """A checked mapping from plain values.

    Raises:
        ConfigError: unknown names, something that is needed is missing, or parts that contradict each other.
    """
    refuse_unknown(raw, Experiment.__struct_fields__, where)
    try:
        mapping = msgspec.convert(raw, Experiment)
    except msgspec.ValidationError as error:
        raise ConfigError("the mapping does not make sense", where=where, got=str(error)) from None
    _check_arms(mapping, where)
    _check_probabilities(mapping, where)
    _check_columns(mapping, where)
    return mapping


def _check_arms(mapping: Experiment, where: str) -> None:
    both = sorted(set(mapping.control) & set(mapping.actions))
    if both:
        raise ConfigError("an arm that is both control and an action", where=where, got=both[0])
    if len(mapping.arms) < 2:
        hint = "nothing can be compared with one arm; list the others in control or [actions]"
        raise ConfigError("one arm only", where=where, got=list(mapping.arms), hint=hint)
    ids = list(mapping.actions.values())
    twice = next((action for action in ids if ids.count(action) > 1), None)
    if twice is not None or len(mapping.control) > 1:
        hint = "give each its own action id, or merge them in the file"
        raise ConfigError("two arms are the same action", where=where, got=twice or mapping.control, hint=hint)


def _check_probabilities(mapping: Experiment, where: str) -> None:
    given = [bool(mapping.shares), mapping.propensity is not None, bool(mapping.propensities)]
    if mapping.observational and any(given):
        hint = "leave the probabilities out, or observational"
        raise ConfigError("observational, yet with probabilities", where=where, hint=hint)
    if not mapping.observational and sum(given) != 1:
        hint = "give [shares], propensity or [propensities], one of them; or observational = true where nobody drew"
        raise ConfigError("with which probability was each arm drawn?", where=where, hint=hint)
    for part in ("shares", "propensities"):
        refuse_unknown(getattr(mapping, part), mapping.arms, f"{where} [{part}]", what="arm")
        for arm in mapping.arms if getattr(mapping, part) else ():
            if arm not in getattr(mapping, part):
                raise ConfigError("an arm without a probability", where=f"{where} [{part}]", got=arm)
    shares = [share_of(given, f"{where} [shares] {arm}") for arm, given in mapping.shares.items()]
    if shares and abs(sum(shares) - 1) > SUM_TOLERANCE:
        raise ConfigError("the shares do not sum to 1", where=f"{where} [shares]", got=sum(shares))


def _check_columns(mapping: Experiment, where: str) -> None:
    if (mapping.moment is None) == (mapping.at is None):
        hint = 'give moment = "column" or at = "2024-03-01"; the date need only be roughly right'
        raise ConfigError("when was it decided?", where=where, hint=hint)
    if mapping.at is not None:
        parse_instant(mapping.at, where=f"{where} at")
    if not mapping.outcomes:
        raise ConfigError("no outcomes", where=where, hint="name at least one column in [outcomes]")
    after = {
        column
        for name, given in mapping.outcomes.items() if not name.startswith(BEFORE)
        for column in _columns_of(result_of(given))
    }  # fmt: skip
    for name, given in mapping.covariates.items():
        column = covariate_of(given).column
        if column in after or column == mapping.arm:
            what = "the arm itself" if column == mapping.arm else "an outcome"
            hint = "a covariate was known before the decision; take it out of [covariates]"
            raise ConfigError(
                f"a covariate that is {what}", where=f"{where} [covariates] {name}", got=column, hint=hint
            )
