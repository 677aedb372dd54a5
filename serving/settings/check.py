"""What a `shop.toml` must hold beyond its shape: names that lead somewhere, words that can be said, days in order.

What is allowed and yet unlikely to be meant is for `kokyaku shop check`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, get_args

from features.errors import ConfigError
from features.moments import zone
from serving.experiments import check_experiments
from serving.expressions import Expression, ExpressionError, compiled
from serving.settings.access import check_origins
from serving.settings.actions import Action, Text
from serving.settings.asking import Question
from serving.settings.check_selection import check_days, check_selection, wishes
from serving.settings.pages import Module
from serving.settings.sequences import check_sequences
from serving.settings.when import SeasonName, StageName, When
from serving.strict import nearest
from serving.terms import ITEM, check_situation
from serving.texts import check_template, fields_of

if TYPE_CHECKING:
    from serving.config import ShopConfig

_URL = re.compile(r"(https://[^\s\"'<>]+|/(?!/)[^\s\"'<>]*)")


def check(config: ShopConfig, where: str) -> None:
    """Refuse a file that could not be served as it is meant.

    Args:
        config: the file as settings.
        where: its name.

    Raises:
        ConfigError: what is wrong, where, and what would be right.
    """
    _check_shop(config, where)
    check_origins(config.access.origins, f"{where} [access]")
    check_selection(config, where)
    for name, action in config.actions.items():
        _check_action(config, action, f"{where} [actions.{name}]")
    for name, question in config.questions.items():
        _check_question(question, f"{where} [questions.{name}]")
    for page_name, page in config.pages.items():
        for slot in page.slots:
            check_holdable(config, slot.modules, f"{where} [pages.{page_name}]")
    for name in config.modules.keys() & config.actions.keys():
        raise ConfigError("a module and an action of one name", where=f"{where} [actions.{name}]", got=name)
    for name, module in config.modules.items():
        _check_where(module, f"{where} [modules.{name}]")
    for name, segment in config.segments.items():
        if segment.segments or segment.not_segments:
            hint = "a segment is made of conditions, not of other segments"
            raise ConfigError("a segment of segments", where=f"{where} [segments.{name}]", hint=hint)
        if segment.if_ is not None and "segments" in _worded(config, segment.if_, f"{where} [segments.{name}]").names:
            raise ConfigError("a segment of segments", where=f"{where} [segments.{name}]", got=segment.if_)
    for place, when in conditions(config):
        _check_when(config, when, f"{where} {place}")
    check_experiments(config, where)
    check_sequences(config, where)


def check_holdable(config: ShopConfig, names: Iterable[str], where: str) -> None:
    """Refuse names that are neither a module nor an action.

    Raises:
        ConfigError: with the nearest name.
    """
    for name in names:
        if name not in config.modules and name not in config.actions:
            hint = nearest(name, [*config.modules, *config.actions])
            raise ConfigError("no such module or action", where=where, got=name, hint=hint)


def conditions(config: ShopConfig) -> Iterator[tuple[str, When]]:
    """Every condition of the file, with where it stands."""
    for name, action in config.actions.items():
        yield f"[actions.{name}]", action.when
        yield from ((f"[actions.{name}] text {at}", text.when) for at, text in enumerate(action.texts, start=1))
    for name, module in config.modules.items():
        yield f"[modules.{name}]", module.when
    for name, when in config.segments.items():
        yield f"[segments.{name}]", when
    for name, question in config.questions.items():
        yield f"[questions.{name}]", question.when
    yield from ((place, wish.when) for place, wish in wishes(config))


def _check_shop(config: ShopConfig, where: str) -> None:
    try:
        zone(config.shop.time_zone)
    except ConfigError as error:
        raise ConfigError(error.what, where=f"{where} [shop]", got=config.shop.time_zone, hint=error.hint) from None
    if not 0 <= config.shop.holdout <= 0.5:
        raise ConfigError("holdout is a share from 0 to 0.5", where=f"{where} [shop]", got=config.shop.holdout)
    if config.consent.assumed and not config.consent.basis.strip():
        hint = 'say on what ground, such as basis = "customers agree in our terms, section 4"'
        raise ConfigError("assumed consent without a basis", where=f"{where} [consent]", hint=hint)


def _check_action(config: ShopConfig, action: Action, where: str) -> None:
    check_days(action, where, "an action that ends before it begins")
    for at, text in enumerate(action.texts, start=1):
        _check_text(config, text, f"{where} text {at}")
    if (action.kind == "question") != (action.question is not None):
        hint = "an action of kind question names one of [questions], and no other action does"
        raise ConfigError("a question without its name, or a name without a question", where=where, hint=hint)
    if action.question is not None and action.question not in config.questions:
        hint = nearest(action.question, list(config.questions))
        raise ConfigError("no such question", where=where, got=action.question, hint=hint)


def _check_text(config: ShopConfig, text: Text, where: str) -> None:
    for template in (text.title, text.text, text.alt, text.image_url or "", text.url or ""):
        check_template(template, where, config.questions)
    for url in (text.image_url, text.url):
        if url is None:
            continue
        if not _URL.fullmatch(re.sub(r"\{[^{}]*\}", "x", url)) or url.startswith("{"):
            raise ConfigError("not an address", where=where, got=url, hint="write https://... or a path such as /care")
        chosen = {f"answers.{name}" for name, question in config.questions.items() if question.options}
        if not set(fields_of(url)) <= {*chosen, "season", "region", "tier"}:
            hint = "only season, region, tier and answers that are chosen from a list may stand in an address"
            raise ConfigError("a personal field in an address", where=where, got=url, hint=hint)


def _check_question(question: Question, where: str) -> None:
    values = question.values
    if len(set(values)) != len(values) or len(values) == 1:
        raise ConfigError("a question has no option, or two different ones and more", where=where, got=values)
    if question.attribute not in (None, "name"):
        hint = 'attribute = "name", or none: then it stays an answer'
        raise ConfigError("a free text fills the name only", where=where, got=question.attribute, hint=hint)
    if question.attribute is not None and values:
        raise ConfigError("a name is not chosen from a list", where=where, got=values, hint="leave the options away")


def _check_where(module: Module, where: str) -> None:
    if module.where is None:
        return
    try:
        compiled(module.where, ITEM)
    except ExpressionError as error:
        raise ConfigError(f"where: {error.place}", where=where, got=module.where, hint=error.hint) from None


def _worded(config: ShopConfig, text: str, where: str) -> Expression:
    """A condition in words, whose names all lead somewhere."""
    worlds = {
        "answers": tuple(config.questions), "segments": tuple(config.segments), "projects": tuple(config.projects),
        "stage": get_args(StageName), "season": get_args(SeasonName),
    }  # fmt: skip
    try:
        return check_situation(text, worlds)
    except ExpressionError as error:
        raise ConfigError(f"if: {error.place}", where=where, got=text, hint=error.hint) from None


def _check_when(config: ShopConfig, when: When, where: str) -> None:
    check_days(when, where, "a condition that ends before it begins")
    if when.if_ is not None:
        _worded(config, when.if_, where)
    asked = [*when.answers, *when.unanswered]
    for names, known, what in (
        ((*when.segments, *when.not_segments), config.segments, "segment"),
        (asked, config.questions, "question"),
        (when.projects, config.projects, "project"),
    ):
        for name in names:
            if name not in known:
                hint = nearest(name, list(known)) if known else f"declare it in [{what}s.{name}]"
                raise ConfigError(f"no such {what}", where=where, got=name, hint=hint)
    for name, values in when.answers.items():
        for value in values:
            if config.questions[name].values and value not in config.questions[name].values:
                hint = nearest(value, list(config.questions[name].values))
                raise ConfigError(f"no such answer to {name}", where=where, got=value, hint=hint)
