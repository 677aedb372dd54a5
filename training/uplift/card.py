"""The model card of an uplift study, in English and in Japanese: three lines for everybody, then what is behind them.

The first three lines say what was asked, what the answer is and what to do, without a statistic. What the log, the
checks and the learners noted stands in the Japanese card in English, as it was noted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from training.pages import rendered
from training.uplift.gate import PICKED, Claim
from training.uplift.report import UpliftReport, by_blocks, check_rows, overridden, shipped
from training.uplift.sensitivity import sensitivities, unseen
from training.uplift.shown import counts, interval_text, shown_learner, unit
from training.uplift.study import Study

Language = Literal["en", "ja"]
Case = Literal["policy", "action", "action-harm", "nothing", "nothing-harm"]
FILES: Mapping[Language, str] = {"en": "card.md", "ja": "card.ja.md"}
CHECKS_JA: Mapping[str, str] = {
    "sample-ratio": "割り付けの比率", "sample-ratio-by-slot": "割り付けの比率(枠別)",
    "sample-ratio-by-day": "割り付けの比率(日別)", "mean-weight": "重みの平均", "duplicates": "重複",
    "positivity": "極端に小さい確率", "effective-sample-size": "有効サンプルサイズ",
    "arm-classifier": "割り付けの予測可能性", "balance": "群の均衡", "overlap": "群の重なり", "leaks": "情報の漏れ",
    "placebo-outcome": "事前の成果による偽薬検査", "permuted-qini": "並べ替え検査",
}  # fmt: skip
"""Names of checks in Japanese; one that is not here keeps its own."""
VERDICTS_JA: Mapping[str, str] = {"passed": "合格", "warned": "注意", "failed": "不合格"}


@dataclass(frozen=True, slots=True)
class Answer:
    """The first three lines."""

    asked: str
    answer: str
    advice: str


def card(report: UpliftReport, language: Language = "en") -> str:
    """The card as Markdown.

    Args:
        report: what is known.
        language: of its words.
    """
    found = report.found
    return rendered(
        f"uplift/{FILES[language]}.j2", report=report, found=found, first=answer_of(report, language),
        claims=[(claim_of(claim, language), claim) for claim in found.ruling.claims],
        checks=[(_check_name(check.name, language), check, said) for check, said in check_rows(found)],
        verdicts=VERDICTS_JA, overridden=overridden(found), counts=counts(found.log), told=interval_text,
        unit=unit(found), cell=cell, learner=shown_learner(found),
        mine=[each for each in found.measured if each.learner == shown_learner(found)],
        values=_values(found, language), by_blocks=by_blocks(found),
        unseen=[unseen(each, language) for each in sensitivities(found)],
    )  # fmt: skip


def case_of(found: Study) -> Case:
    """What there is to say: the ruling, and whether harm rather than a lack of gain stopped the rest."""
    ruling = found.ruling
    harmed = any(not claim.passed and claim.what.startswith(("extra ", "tier ")) for claim in ruling.claims)
    if ruling.ships == "policy":
        return "policy"
    if ruling.ships == "action":
        return "action-harm" if harmed and ruling.claims[0].passed else "action"
    gains = [claim for claim in ruling.claims if " - " in claim.what]
    return "nothing-harm" if harmed and any(claim.passed for claim in gains) else "nothing"


def answer_of(report: UpliftReport, language: Language) -> Answer:
    """The three lines, without a statistic."""
    found = report.found
    names = [str(action) for action in found.log.actions[1:]]
    wanted = [reward for reward, worth in found.options.worth.items() if worth]
    action = shipped(found)
    if language == "en":
        asked = (
            f"In {report.name}, should each customer get what suits them of {_listed(names, 'and')}, should everybody "
            f"get the same, or should nothing be done? What counts is {_listed(wanted, 'and')}."
        )
        answer, advice = (text.format(action=action) for text in _ENGLISH[case_of(found)])
        return Answer(asked, answer, " ".join([advice, *_more(report, _MORE_ENGLISH)]))
    asked = (
        f"「{report.name}」で、{'・'.join(names)}を顧客ごとに選ぶべきか、全員に同じものを送るべきか、"
        f"それとも何もしないべきか。重視する成果は{'・'.join(wanted)}です。"
    )
    answer, advice = (text.format(action=action) for text in _JAPANESE[case_of(found)])
    return Answer(asked, answer, "".join([advice, *_more(report, _MORE_JAPANESE)]))


def claim_of(claim: Claim, language: Language) -> str:
    """A claim in words, without its figures."""
    what = claim.what
    if language == "en":
        return claim.sentence.rsplit(":", 1)[0] + "."
    if what.startswith("extra "):
        return f"{what.removeprefix('extra ')}の増加が上限以内{'である' if claim.passed else 'とは言えない'}"
    if what.startswith("tier "):
        return f"会員ランク{what.removeprefix('tier ')}に害が{'あるとは言えない' if claim.passed else 'ある'}"
    one, _, other = what.partition(" - ")
    better = "より良い" if claim.passed else "より良いとは言えない"
    return f"{_side(one)}は{_side(other)}{better}"


def cell(text: object) -> str:
    """Text that cannot break a table of Markdown.

    >>> cell("a|b")
    'a\\\\|b'
    """
    return str(text).replace("|", "\\|").replace("\n", " ")


def _side(name: str) -> str:
    known = {
        "the policy": "顧客ごとの選択",
        "the best single action": "全員に同じ最良の施策",
        "nothing": "何もしないこと",
        PICKED: "ほかの組で最良だったモデルの方策",
    }
    return known.get(name, f"全員への{name.removesuffix(' for everybody')}")


def _values(found: Study, language: Language) -> list[tuple[str, str]]:
    """Name and interval of everything that the gate compared."""
    words = {"policy": ("the policy", "顧客ごとの選択"), "nothing": ("nothing", "何もしない")}
    named = {
        name: words.get(name, (f"{name} for everybody", f"全員に{name}"))[language == "ja"]
        for name in found.ruling.values
    }
    return [(named[name], interval_text(each)) for name, each in found.ruling.values.items()]


def _check_name(name: str, language: Language) -> str:
    return name if language == "en" else CHECKS_JA.get(name, name)


def _more(report: UpliftReport, words: Mapping[str, str]) -> list[str]:
    """What goes with the advice, whatever it is."""
    found = report.found
    told = []
    if report.blocked and found.ruling.ships != "nothing":
        told.append(words["blocked"])
    if found.log.observational:
        told.append(words["observational"])
    if overridden(found):
        told.append(words["overridden"])
    return told


def _listed(names: list[str], word: str) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {word} {names[-1]}"


_ENGLISH: Mapping[Case, tuple[str, str]] = {
    "policy": (
        "Choosing customer by customer is better than doing the same for everybody.",
        "Let the policy choose, leave a few customers to chance, and hold the result against customers left alone.",
    ),
    "action": (
        "{action} for everybody is better than doing nothing; choosing customer by customer is not shown to add to it.",
        "Give everybody {action} and spend nothing on targeting.",
    ),
    "action-harm": (
        "Choosing customer by customer would bring more and might do harm elsewhere; {action} for everybody does not.",
        "Give everybody {action}, and look below for the limit that the policy may break.",
    ),
    "nothing": (
        "Nothing that was tried is shown to be better than doing nothing.",
        "Do not roll it out; try another idea, or the same one on more customers.",
    ),
    "nothing-harm": (
        "Something would bring more, but it might do harm that was ruled out beforehand.",
        "Do not roll it out; look below for the limit that may be broken.",
    ),
}
"""Case -> the answer and what to do."""
_MORE_ENGLISH: Mapping[str, str] = {
    "blocked": "Leave out those who are listed below as better left alone.",
    "observational": "First try it with a draw: chance decided nothing here, so this is a hint and no proof.",
    "overridden": "Have somebody look at the checks that were overridden first.",
}
_JAPANESE: Mapping[Case, tuple[str, str]] = {
    "policy": (
        "顧客ごとに選ぶほうが、全員に同じことをするより良い結果になります。",
        "選択は方策に任せ、一部の顧客は無作為のまま残し、何もしない顧客と比べて効果を確かめてください。",
    ),
    "action": (
        "全員に{action}を送るほうが、何もしないより良い結果になります。顧客ごとに選んでも、それ以上になるとは確認できません。",
        "全員に{action}を送り、出し分けには費用をかけないでください。",
    ),
    "action-harm": (
        "顧客ごとに選べば成果は増えますが、ほかの面で害が出るおそれがあります。全員に{action}を送る場合、その心配はありません。",
        "全員に{action}を送り、方策が超えるおそれのある上限を下の表で確認してください。",
    ),
    "nothing": (
        "試した施策のどれも、何もしないより良いとは確認できません。",
        "展開は見送り、別の案を試すか、より多くの顧客でもう一度試してください。",
    ),
    "nothing-harm": (
        "成果を増やす施策はありますが、あらかじめ禁じた害が出るおそれがあります。",
        "展開は見送り、超えるおそれのある上限を下の表で確認してください。",
    ),
}
_MORE_JAPANESE: Mapping[str, str] = {
    "blocked": "下に挙げる「対象から外す顧客」には送らないでください。",
    "observational": "この記録は無作為の割り付けではないため、証明ではなく手がかりです。まず無作為の実験を行うこと。",
    "overridden": "不合格のまま承認された検査を、先に担当者が確認してください。",
}
