"""What the bundle knows of questions: how likely each answer is by context, and what actions bring given the answer.

Answers are the `answer` events of the log, `{"question", "answer"}` among their attributes; the chance of each by
context is a contextual prior over the options. What an action brings given an answer is learned from drawn decisions
about people who had answered by then, with 1 / propensity, and drawn towards what it brings whatever the answer
(`training.prior`): where answers do not clearly tell, all options get the same and the question is worth nothing.

Who answers is not everybody: both tables are of people who answer questions.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import duckdb
import numpy as np

from features import columns as c
from features.build import resolved_sql
from features.covariates import visit_values
from features.dataset import Dataset
from features.errors import DataError
from features.ids import Array, Vocabulary
from features.moments import DAY
from serving.prior import DIMENSIONS, Codes, words_of
from serving.questions import ANSWERS
from training.fitting import Cut
from training.hours import hour_arrays, looks_of
from training.prior import ActionsFitted, PriorParams, fit_actions, fit_prior
from training.prior_log import tries_of
from training.prior_rows import Seen
from training.uplift.log import DecisionLog, Doubles
from training.uplift.reading import NEEDED, opened, read_log

Options = Mapping[str, Collection[str]]
REWARD, WINDOW = "click", DAY
"""What an action should bring: clicks are many, and come of what was shown."""
ANSWER = "answer"
"""The dimension of what was answered."""
COLUMNS = (*NEEDED, c.REGION, c.TRAFFIC_SOURCE, c.DEVICE, c.ATTRIBUTES)


@dataclass(frozen=True)
class Answers:
    """What was answered to one question, the first time.

    Args:
        question: its id.
        options: what was answered, sorted.
        option: int64[n], place among `options`.
        time: int64[n].
        person: int64[n].
        words: what the visit told.
        before: key of a decision -> what its subject had answered last by then.
    """

    question: str
    options: tuple[str, ...]
    option: Codes
    time: Codes
    person: Codes
    words: Sequence[dict[str, str]]
    before: dict[int, int]


def page_tables(
    cut: Cut, dataset: Dataset, time_zone: str, erased: Callable[[str], bool], options: Options
) -> dict[str, Array]:
    """The small tables of a bundle that pages read beside the ranking: hours of looks, and answers.

    Args:
        cut: what was known.
        dataset: the same, with decisions.
        time_zone: of the shop.
        erased: says of a subject whether nothing may be learned from it.
        options: question -> what can be answered, as the shop's file says. What people said in their own words, such
            as a name, is not learned.
    """
    return hour_arrays(looks_of(cut, time_zone)) | question_arrays(
        dataset, cut.as_of, time_zone, erased=erased, options=options
    )


def question_arrays(
    dataset: Dataset,
    as_of: int,
    time_zone: str,
    southern: Sequence[str] = (),
    params: PriorParams | None = None,
    erased: Callable[[str], bool] | None = None,
    options: Options | None = None,
) -> dict[str, Array]:
    """`context.answers.*` of a bundle (`serving.questions.learned_of`); none where nothing was answered.

    Args:
        dataset: with events and decisions.
        as_of: what was known then.
        time_zone: of the shop.
        southern: regions south of the equator.
        params: of the priors.
        erased: says of a subject whether it asked to be forgotten.
        options: question -> what can be answered; None: whatever was.
    """
    answers = answers_of(dataset, as_of, time_zone, southern, erased, options)
    if not answers:
        return {}
    slots = _slots(dataset, as_of, erased)
    arrays: dict[str, Array] = dict(Vocabulary.of(each.question for each in answers).arrays(f"{ANSWERS}.questions"))
    for number, each in enumerate(answers):
        prefix = f"{ANSWERS}.{number}"
        arrays |= fit_prior(answered(each), params).prior.arrays(f"{prefix}.chance")
        known = {slot: found for slot, log in slots.items() if (found := values_of(log, each, params)) is not None}
        arrays |= Vocabulary.of(known).arrays(f"{prefix}.slots")
        for at, fitted in enumerate(known.values()):
            arrays |= Vocabulary.of(fitted.beyond.prior.arms).arrays(f"{prefix}.slot.{at}.actions")
            arrays[f"{prefix}.slot.{at}.value"] = by_option(fitted, each.options)
    return arrays


def answered(answers: Answers) -> Seen:
    """Answers as tries of all options, of which one comes off."""
    k, n = len(answers.options), len(answers.option)
    words = tuple(tuple(sorted({each[name] for each in answers.words if name in each})) for name in DIMENSIONS)
    place = [{word: code for code, word in enumerate(each)} for each in words]
    codes = [[place[at].get(each.get(name, ""), -1) for at, name in enumerate(DIMENSIONS)] for each in answers.words]
    row, arm = np.repeat(np.arange(n), k), np.tile(np.arange(k), n)
    return Seen(
        arm, (answers.option[row] == arm).astype(np.float64), np.ones(n * k), answers.time[row], answers.person[row],
        np.array(codes, np.int64).reshape(n, len(DIMENSIONS))[row], answers.options, DIMENSIONS, words,
    )  # fmt: skip


def values_of(log: DecisionLog, answers: Answers, params: PriorParams | None = None) -> ActionsFitted | None:
    """What actions of a slot bring by what was answered; None where nobody who had answered was decided for."""
    if log.keys is None:
        raise DataError("the log does not say which decisions these are")
    told = np.array([answers.before.get(key, -1) for key in log.keys.tolist()], np.int64)
    rows = np.flatnonzero(told >= 0)
    try:
        seen = tries_of(log.take(rows), REWARD, told[rows, None], (ANSWER,), (answers.options,))
    except DataError:
        return None
    return fit_actions(seen, params_about(params))


def params_about(params: PriorParams | None) -> PriorParams:
    """The same about what was answered."""
    params = params or PriorParams()
    return PriorParams((ANSWER,), params.windows, params.held_out, params.least_people)


def by_option(fitted: ActionsFitted, options: Sequence[str]) -> Doubles:
    """float64[options, actions]: the chance of a click; the same for all where answers do not tell."""
    told = [{ANSWER: option} for option in options]
    return np.stack([fitted.base.prior.score(each) + fitted.beyond.prior.score(each) for each in told])


def answers_of(
    dataset: Dataset,
    as_of: int,
    time_zone: str,
    southern: Sequence[str] = (),
    erased: Callable[[str], bool] | None = None,
    options: Options | None = None,
) -> list[Answers]:
    """What was answered to each question, by its id; the first answer of each person counts for chances."""
    with opened(dataset, as_of, COLUMNS) as (duck, now):
        _make_answers(duck, now)
        rows = duck.sql("SELECT * FROM answers ORDER BY question, moment, key").to_arrow_table().to_pylist()
        before = duck.sql("SELECT * FROM answered_before").to_arrow_table().to_pylist()
    gone = {subject for subject in {row["subject"] for row in rows} if erased is not None and erased(subject)}
    if options is not None:
        rows, before = ([row for row in each if row["answer"] in options.get(row["question"], ())]
                        for each in (rows, before))  # fmt: skip
    rows, found = [row for row in rows if row["subject"] not in gone], []
    for question in sorted({row["question"] for row in rows}):
        mine = [row for row in rows if row["question"] == question]
        given = tuple(sorted({row["answer"] for row in mine}))
        places = {option: place for place, option in enumerate(given)}
        first = list({row["subject"]: row for row in reversed(mine)}.values())
        numbers = np.arange(len(first))
        words = [_words(row, time_zone, southern) for row in first]
        found.append(Answers(
            question, given, np.array([places[row["answer"]] for row in first], np.int64),
            np.array([row["moment"] for row in first], np.int64), numbers, words,
            {
                row["key"]: places[row["answer"]]
                for row in before if row["question"] == question and row["subject"] not in gone
            },
        ))  # fmt: skip
    return found


def _words(row: dict[str, object], time_zone: str, southern: Sequence[str]) -> dict[str, str]:
    told = {name: None if row[name] is None else str(row[name]) for name in (c.DEVICE, c.TRAFFIC_SOURCE, c.REGION)}
    visit = visit_values(
        int(str(row["moment"])), time_zone, device=told[c.DEVICE], traffic_source=told[c.TRAFFIC_SOURCE],
        region=told[c.REGION], known=False,
    )  # fmt: skip
    return words_of(visit, southern)


def _make_answers(duck: duckdb.DuckDBPyConnection, now: int) -> None:
    """Make tables `answers`, and `answered_before`: decision x question with the last answer by then."""
    question, answer = (f"json_extract_string({c.ATTRIBUTES}, '$.{name}')" for name in ("question", "answer"))
    duck.execute(f"""
        CREATE TEMP TABLE told AS SELECT *, {question} AS question, {answer} AS answer FROM source_events
        WHERE {c.TYPE} = 'answer' AND {question} <> '' AND {answer} <> ''""")
    duck.execute(f"""
        CREATE TEMP TABLE answers AS
        SELECT subject, epoch_us({c.OCCURRED_AT}) AS moment, {c.REGION}, {c.TRAFFIC_SOURCE}, {c.DEVICE}, question,
               answer, md5_number_lower({c.EVENT_ID}) AS key
        FROM ({resolved_sql("told", c.OCCURRED_AT, now)}) WHERE subject IS NOT NULL""")
    duck.execute(f"CREATE TEMP TABLE made AS SELECT * FROM decisions WHERE epoch_us({c.DECIDED_AT}) < {now}")
    duck.execute(f"""
        CREATE TEMP TABLE answered_before AS
        SELECT a.subject, a.question, a.answer, md5_number_lower(d.{c.DECISION_ID}) AS key
        FROM ({resolved_sql("made", c.DECIDED_AT, now)}) d
        JOIN answers a ON a.subject = d.subject AND a.moment < epoch_us(d.{c.DECIDED_AT})
        QUALIFY row_number() OVER (PARTITION BY d.{c.DECISION_ID}, a.question ORDER BY a.moment DESC, a.key) = 1""")


def _slots(dataset: Dataset, as_of: int, erased: Callable[[str], bool] | None) -> dict[str, DecisionLog]:
    """The drawn decisions of each slot, with their clicks; slots in which nothing can be known are left out."""
    with opened(dataset, as_of) as (duck, now):
        before = f"drawn AND epoch_us({c.DECIDED_AT}) < {now}"
        places = duck.sql(f"SELECT DISTINCT surface, slot FROM decisions WHERE {before} ORDER BY ALL").fetchall()
    found = {}
    for surface, slot in places:
        try:
            found[f"{surface}/{slot}"] = read_log(
                dataset, surface=surface, slot=slot, rewards=(REWARD,), window=WINDOW, as_of=as_of, history=False,
                from_events=True, erased=erased,
            )  # fmt: skip
        except DataError:
            continue
    return found
