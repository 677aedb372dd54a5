"""The Open Bandit rows of `kokyaku bench uplift`: what Thompson sampling is worth against random.

Slots of a fashion shop, three positions, drawn by a random and by a Thompson sampling policy (Saito, Aihara, Matsutani
& Narita 2021). The published figure values the production's Thompson sampling on the random log: its policy is the
frequency with which each item comes first, second and third over 100,000 draws of the items' Beta priors.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from features.errors import DataError
from training.bench.rows import Row
from training.offpolicy.inference import Estimate
from training.offpolicy.refusal import Refusal
from training.offpolicy.replay import Replay, Settings, replay
from training.offpolicy.targets import shares, uniform
from training.uplift.log import DecisionLog, Doubles, Whole

PUBLISHED: Final = 1.198126
"""Thompson sampling over random on campaign `all` by IPW (quickstart of the Open Bandit Pipeline)."""
CAMPAIGNS: Final = ("all", "men", "women")
POSITIONS: Final = 3
REWARD: Final = "click"
_DRAWS: Final = 100_000
_AT_ONCE: Final = 10_000
_SEED: Final = 12345
"""Draws and seed of the published figure."""
_USER: Final = tuple(f"user_feature_{number}" for number in range(4))


def rows(path: Path) -> list[Row]:
    """What the benchmark prints of these logs.

    Args:
        path: the folder `open_bandit`, or one that holds it.

    Raises:
        DataError: the files are not there or are not what they should be.
    """
    home = path / "open_bandit" if (path / "open_bandit").is_dir() else path
    how = Settings(model=None)
    thompson = shares(thompson_shares(*read_prior(home)["all"]))
    forward = replay(read_log(home, "random", "all"), thompson, REWARD, name="thompson", settings=how)
    data, task = "open-bandit-all", "random-to-thompson"
    found = [*_rows(data, task, forward), Row("uplift", data, task, "published", "relative-value-ipw", PUBLISHED)]
    for campaign in CAMPAIGNS:
        back = replay(read_log(home, "bts", campaign), uniform, REWARD, name="random", settings=how)
        found += _rows(f"open-bandit-{campaign}", "thompson-to-random", back)
    return found


def _rows(data: str, task: str, found: Replay) -> list[Row]:
    def row(metric: str, value: float, low: float | None = None, high: float | None = None) -> Row:
        return Row("uplift", data, task, found.policy, metric, value, low, high)

    def told(metric: str, answer: Estimate | Refusal) -> Row:
        """A refused figure is undefined."""
        if isinstance(answer, Refusal):
            return row(metric, np.nan)
        return row(metric, answer.value, answer.low, answer.high)

    ipw, snipw = found.estimates["ips"], found.estimates["snips"]
    return [
        told("value-ipw", ipw.value), told("relative-value-ipw", ipw.ratio), told("relative-value-snipw", snipw.ratio),
        row("effective-sample-size", found.diagnosis.whole.effective), row("decisions", found.diagnosis.whole.n),
        row("refused", float(isinstance(ipw.value, Refusal))),
    ]  # fmt: skip


def read_log(home: Path, policy: str, campaign: str) -> DecisionLog:
    """One campaign's decisions under one policy.

    The files hold one position of a page a row, no subject (each row is its own) and the probability of the item that
    was shown; the other items share the rest evenly, which no weight reads. There is no null action to draw.

    Args:
        home: the folder `open_bandit`.
        policy: `random` or `bts`.
        campaign: `all`, `men` or `women`.

    Raises:
        DataError: the file is not there, lacks a column, or a probability lies outside of (0, 1].
    """
    file = home / policy / campaign / f"{campaign}.csv.gz"
    table = _table(file)
    items, chance = table["item_id"].to_numpy(), table["propensity_score"].to_numpy().astype(np.float64)
    if not ((chance > 0) & (chance <= 1)).all():
        raise DataError("propensities must be above 0 and at most 1", where=str(file), got=float(chance.min()))
    n, count = len(items), int(items.max()) + 1
    spread = np.repeat(((1 - chance) / (count - 1))[:, None], count + 1, axis=1)
    spread[:, 0] = 0
    spread[np.arange(n), items + 1] = chance
    slot = (table["position"].to_numpy() - 1).astype(np.int32)
    codes = [np.unique(table[name].to_numpy(zero_copy_only=False), return_inverse=True)[1] for name in _USER]
    number = np.arange(n)
    return DecisionLog(
        subject=number, request=number, decided_at=_instants(table["timestamp"], file), slot=slot, position=slot,
        action=(items + 1).astype(np.int32), propensity=spread, features=np.stack(codes, axis=1).astype(np.float32),
        rewards={REWARD: table["click"].to_numpy().astype(np.float64)}, usable=np.ones(n, np.bool_),
        holdout=np.zeros(n, np.bool_), slots=tuple(str(place + 1) for place in range(POSITIONS)),
        actions=(None, *(str(item) for item in range(count))), names=_USER, categorical=(True,) * len(_USER),
    )  # fmt: skip


def _table(file: Path) -> pa.Table:
    wanted = ["timestamp", "item_id", "position", "click", "propensity_score", *_USER]
    options = pa.csv.ConvertOptions(include_columns=wanted, column_types={"timestamp": pa.string()})
    try:
        table = pa.csv.read_csv(file, convert_options=options)
    except FileNotFoundError:
        hint = "the folder of the Open Bandit Dataset"
        raise DataError("there is no such file", where=str(file), hint=hint) from None
    except (pa.ArrowInvalid, pa.ArrowKeyError, OSError) as error:
        raise DataError("not a log of the Open Bandit Dataset", where=str(file), got=str(error)) from None
    return table.sort_by("timestamp").combine_chunks()


def _instants(column: pa.ChunkedArray, file: Path) -> Whole:
    """int64[n]: microseconds since 1970."""
    try:
        moments = pc.cast(column, pa.timestamp("us", tz="UTC"))
    except pa.ArrowInvalid as error:
        raise DataError("not an instant", where=f"{file}, timestamp", got=str(error)) from None
    found: Whole = moments.cast(pa.int64()).to_numpy()
    return found


def read_prior(home: Path) -> dict[str, tuple[Doubles, Doubles]]:
    """campaign -> alpha and beta of each item's Beta distribution.

    Raises:
        DataError: the file is not there, or is no `campaign: / alpha: / - number` list.
    """
    file = home / "prior_bts.yaml"
    if not file.exists():
        raise DataError("there is no such file", where=str(file), hint="the folder of the Open Bandit Dataset")
    found: dict[str, dict[str, list[float]]] = {}
    campaign = name = ""
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        word = line.strip()
        try:
            if word.startswith("- "):
                found[campaign][name].append(float(word[2:]))
            elif word and not line.startswith(" "):
                campaign = word.removesuffix(":")
                found[campaign] = {}
            elif word:
                name = word.removesuffix(":")
                found[campaign][name] = []
        except (KeyError, ValueError):
            raise DataError("not a line of the priors", where=f"{file}:{number}", got=word) from None
    try:
        return {key: (np.array(each["alpha"]), np.array(each["beta"])) for key, each in found.items()}
    except KeyError as error:
        raise DataError("a campaign has no such parameter", where=str(file), got=error.args[0]) from None


def thompson_shares(
    alpha: Doubles, beta: Doubles, *, draws: int = _DRAWS, seed: int = _SEED
) -> Mapping[str, Mapping[str | None, float]]:
    """position -> item -> the share of draws in which the item's Beta draw ranks so.

    Args:
        alpha, beta: float64[items], of the Beta distributions.
        draws, seed: of the published figure by default, with numpy's older generator, which it was made with.
    """
    random = np.random.RandomState(seed)
    counts = np.zeros((POSITIONS, len(alpha)))
    for done in range(0, draws, _AT_ONCE):
        drawn = random.beta(alpha, beta, (min(_AT_ONCE, draws - done), len(alpha)))
        best = np.argsort(drawn, axis=1)[:, ::-1][:, :POSITIONS]
        for place in range(POSITIONS):
            counts[place] += np.bincount(best[:, place], minlength=len(alpha))
    return {
        str(place + 1): {str(item): share for item, share in enumerate((counts[place] / draws).tolist())}
        for place in range(POSITIONS)
    }
