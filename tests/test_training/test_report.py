"""The merchant's page and the plots: what was decided stands there in words, and nothing is fetched."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import msgspec
import numpy as np
import pytest

from features.moments import DAY, parse_instant
from training import plots
from training.console import verdict_table
from training.gate import Comparison, Entrant, Verdict, decide, refreshed
from training.meter import Step
from training.plots import Mark
from training.report import Report, figure, findings, headline, html, markdown

PNG = b"\x89PNG\r\n\x1a\n"
NAN = float("nan")


def verdict(gain: float) -> Verdict:
    """blend against a champion, personal-frequency as the baseline; 60 customers."""
    base = np.linspace(0.2, 0.4, 60)
    scores = {"champion": base, "blend": base + gain, "personal-frequency": base - 0.01}
    entrants = [
        Entrant(name, {"all": values, "new": values / 10}, baseline=name == "personal-frequency")
        for name, values in scores.items()
    ]
    return decide(entrants, ranking=["blend"], champion="champion", champion_bundle="b0")


def report(decided: Verdict, **given: object) -> Report:
    cut = parse_instant("2017-12-01")
    return Report(
        shop="Grün & <Söhne>", verdict=decided, outcome="It was promoted.", as_of=cut,
        windows={"judged on": (cut - 28 * DAY, cut)}, counts={"customers": 60, "items": 1234},
        recipes={"blend": "personal-frequency + 0.1 x ials"}, **given,
    )  # fmt: skip


class Balanced(HTMLParser):
    """Fails on a tag that is closed out of order, and collects what would be fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img", "br", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_fetches_nothing() -> None:
    """Well-formed, pictures inside, the shop's name escaped, figures and reasons in it."""
    steps = [Step("fit ials", 12.34, 512.0)]
    page = html(report(verdict(0.05), plots={"comparison": PNG}, findings=["ials loses."], notes=["bpr is left out."],
                       steps=steps))  # fmt: skip
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []
    assert all(source.startswith("data:image/png;base64,") for source in parser.sources)
    assert len(parser.sources) == 1
    expected = (
        "Grün &amp; &lt;Söhne&gt;", "blend is better than champion", "0.350", "ials loses.", "bpr is left out.",
        "fit ials", "12.3", "1,234 items", "0.1 x ials", "2017-12-01T00:00:00Z",
    )  # fmt: skip
    assert [said for said in expected if said not in page] == []


def test_headlines() -> None:
    """Each outcome has its own sentence."""
    accepted, refused = verdict(0.05), verdict(0.0)
    assert headline(accepted) == "blend is better than champion, which served so far: it may serve."
    assert headline(refused) == "blend is not shown to be better than champion, which goes on serving."
    assert headline(refreshed(refused)).startswith("Nothing beat champion: it goes on serving")
    varied, costly = (msgspec.structs.replace(each, only="fewer voices") for each in (accepted, refused))
    what = "blend is champion, which served so far, with fewer voices"
    assert headline(varied) == f"{what}, and not worse: it may serve."
    assert headline(costly) == f"{what} that may cost too much: champion goes on serving."
    first = msgspec.structs.replace(accepted, champion=None)
    assert headline(first) == "blend is the best that there is, and nothing served before: it may serve."


def test_markdown_has_the_table_and_the_reasons() -> None:
    """One row a recipe, and why."""
    text = markdown(report(verdict(0.0), findings=["ease loses."]))
    assert "| blend | challenger |" in text
    assert "- ease loses." in text
    assert "is not shown to be better than champion on all purchases" in text


def test_the_terminal_shows_the_same_table() -> None:
    """As many rows as recipes."""
    assert verdict_table(verdict(0.0)).row_count == 3


@pytest.mark.parametrize(
    ("difference", "low", "high", "said"),
    [
        (-0.2, -0.25, -0.15, "On all purchases ials (-0.200 [-0.250, -0.150]) loses to the plain baseline popularity."),
        (
            0.01,
            -0.01,
            0.03,
            "On all purchases ials (+0.010 [-0.010, +0.030]) is no better than the plain baseline popu",
        ),
        (
            0.05,
            0.02,
            0.08,
            "On all purchases ials (+0.050 [+0.020, +0.080]) beats the best plain baseline, popularity.",
        ),
        (None, None, None, "On all purchases ials cannot be compared with popularity."),
    ],
)
def test_findings_are_plain_sentences(
    difference: float | None, low: float | None, high: float | None, said: str
) -> None:
    """A model that loses to repeat purchase is said to lose."""
    compared = Comparison("better", "all", "ials", "popularity", 0.3, difference, low, high, 10, False, "")
    assert findings([compared])[0].startswith(said)


def test_findings_name_models_of_one_outcome_together() -> None:
    """Two losers are one sentence."""
    lost = [
        Comparison("better", "all", name, "popularity", 0.3, -0.1, -0.2, -0.05, 10, False, "")
        for name in ("ials", "bpr", "ease")
    ]
    figures = "(-0.100 [-0.200, -0.050])"
    names = f"ials {figures}, bpr {figures} and ease {figures}"
    assert findings(lost) == [f"On all purchases {names} lose to the plain baseline popularity."]


def test_figures_as_text() -> None:
    """Undefined is said, not shown as 0."""
    assert figure((None, None, None)) == "not defined"
    assert figure((0.1234, None, None)) == "0.123"


def test_plots_are_pictures_whatever_is_undefined() -> None:
    """Each plot gives a PNG of a readable size, also with a single recipe and with NaN."""
    marks = [Mark("a", 0.3, 0.2, 0.4, "champion"), Mark("b", NAN, NAN, NAN, "baseline"), Mark("c", 0.1, NAN, NAN)]
    month = parse_instant("2017-11-01")
    pictures = [
        plots.comparison({"All purchases": marks, "New": marks[::-1]}, metric="NDCG@20"),
        plots.comparison({"All purchases": [Mark("only", NAN, NAN, NAN)]}, metric="NDCG@20"),
        plots.forest({"All purchases": marks, "New": []}, metric="NDCG@20"),
        plots.slices({"a": marks, "b": marks}, metric="NDCG@20"),
        plots.coverage([(mark, 0.2) for mark in marks], metric="NDCG@20"),
        plots.coverage([], metric="NDCG@20"),
        plots.months({"purchase": {month: 5}}, {"judged on": (month, month + 28 * DAY)}),
        plots.months({}, {}),
    ]
    for picture in pictures:
        assert picture.startswith(PNG)
        width, height = (int.from_bytes(picture[at : at + 4], "big") for at in (16, 20))
        assert 600 <= width <= 2000
        assert 200 <= height <= 2000


def test_pictures_do_not_change_with_the_day() -> None:
    """The same data give the same bytes: no time of making in them."""
    marks = [Mark("a", 0.3, 0.2, 0.4)]
    first, second = (plots.forest({"All": marks}, metric="m") for _ in range(2))
    assert re.sub(rb"tEXt.*?\x00", b"", first) == re.sub(rb"tEXt.*?\x00", b"", second)
