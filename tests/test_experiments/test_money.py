"""A month's account, in shops where what personalisation brought can be counted on fingers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.dataset import Dataset
from features.errors import ConfigError, DataError
from features.moments import DAY, format_instant, parse_instant
from training.cli import main
from training.experiments import ledger as books
from training.experiments.ledger import LINES, REVENUE, STRANGERS, TORN, Ledger, Spot, ledger_of
from training.experiments.money import MoneyReport, money_report
from training.experiments.money_page import facts, headline, html, json_rows, pdf, reasons, signed
from training.experiments.months import Month, month_of

MANY = 60
"""Customers of each group."""
OCTOBER = month_of("2026-10", "UTC")
Make = Callable[..., Dataset]
Rows = list[dict[str, Any]]


def people(held: bool) -> list[str]:
    return [f"{'h' if held else 't'}{number:02}" for number in range(MANY)]


def mails(at: str = "2026-10-03T10:00Z", action: str = "letter", **more: Any) -> Rows:
    """One mail decision for everybody: the treated get an action, the held out nothing."""
    row = {"surface": "email", "slot": "campaign", "at": at, **more}
    treated = [{**row, "customer_id": who, "action_id": action, "decision_id": f"{who}-{at}"} for who in people(False)]
    held = [{**row, "customer_id": who, "holdout": True, "decision_id": f"{who}-{at}"} for who in people(True)]
    return treated + held


def bought(who: str, at: str = "2026-10-05T12:00Z", quantity: float = 1, **more: Any) -> dict[str, Any]:
    return {"customer_id": who, "item_id": "tea", "at": at, "quantity": quantity, "unit_price": 10.0, **more}


def everybody(treated: float = 2, held: float = 1, at: str = "2026-10-05T12:00Z") -> Rows:
    """The treated buy so many pieces, the held out so many; one of nobody's ends the data after the month."""
    rows = [bought(who, at, treated) for who in people(False)] + [bought(who, at, held) for who in people(True)]
    return [*rows, bought("stranger", "2026-12-01T00:00Z")]


def report_of(dataset: Dataset, month: Month = OCTOBER, **options: Any) -> MoneyReport:
    found = ledger_of(dataset, month, **options)
    return money_report(found, shop="toy", currency="EUR", zone="UTC", holdout=0.02)


def account(report: MoneyReport) -> dict[str, float | None]:
    """Name -> figure a treated customer."""
    return {each.name: None if each.found is None else round(each.found.value / MANY, 6) for each in report.entries}


def parts(report: MoneyReport, heading: str) -> dict[str, float]:
    return {part.name: round(part.result.value / MANY, 6) for part in report.parts[heading]}


@pytest.fixture
def full(make_dataset: Make, tmp_path: Path) -> Dataset:
    """Discounts, a late return, costs of goods and of mails, tax inside the price.

    Treated: 3 at 12 less 2.40, one sent back in November: 30 - 2 - 10, cost 3 x 4 - 4, mail 0.5. Held out: 1 at 12.
    """
    events: Rows = []
    for who in people(False):
        events.append(bought(who, quantity=3, unit_price=12.0, discount=2.4, order_id=f"o-{who}"))
        events.append(bought(who, "2026-11-20T00:00Z", type="return", unit_price=12.0, order_id=f"o-{who}"))
    events += [bought(who, unit_price=12.0) for who in people(True)]
    events.append(bought("stranger", "2026-12-01T00:00Z"))
    item = {"item_id": "tea", "unit_cost": 4.0, "tax_included": True, "tax_rate": 0.2}
    return make_dataset(
        tmp_path / "dataset", events=events, decisions=mails(), items=[item],
        actions=[{"action_id": "letter", "cost": 0.5}],
    )  # fmt: skip


def test_the_account_is_exact(full: Dataset):
    report = report_of(full)
    assert account(report) == {
        "sales before reductions": 20.0, "discounts and coupons": -2.0, "returns": -10.0, "points paid with": None,
        "revenue": 8.0, "cost of goods": -4.0, "gross margin": 4.0, "contact cost": -0.5,
        "gross margin after contact cost": 3.5,
    }  # fmt: skip
    assert report.total.low == pytest.approx(3.5 * MANY)
    assert report.total.high == pytest.approx(3.5 * MANY)
    assert report.held_mean == pytest.approx(6.0)
    assert headline(report) == "Personalisation brought 210 EUR of gross margin after contact cost in 2026-10."
    assert any("points paid" in each or "points (" in each for each in facts(report))


def test_every_part_is_exact(full: Dataset):
    report = report_of(full)
    assert parts(report, "channel") == {"email": 3.5, "not attributed": 0.0}
    assert parts(report, "slot") == {"email / campaign": 3.5, "not attributed": 0.0}
    assert parts(report, "campaign") == {"email / campaign / letter": 3.5, "not attributed": 0.0}
    assert report.parts["channel"][0].revenue.value == pytest.approx(8.0 * MANY)


def test_before_the_return_was_known(full: Dataset):
    """As of the first of November nobody had sent anything back."""
    report = report_of(full, as_of=parse_instant("2026-11-01"))
    assert account(report)["revenue"] == 18.0
    assert account(report)["returns"] is None
    assert "no return is in the data" in " ".join(facts(report))


def test_what_costs_more_than_it_brings(make_dataset: Make, tmp_path: Path):
    dataset = make_dataset(tmp_path, events=everybody(1, 2), decisions=mails())
    assert headline(report_of(dataset)) == "Personalisation cost 600 EUR of revenue in 2026-10."


def test_what_is_not_recorded_is_named_and_not_zero(make_dataset: Make, tmp_path: Path):
    """No discount, return, cost of goods or of contact: the bottom line is revenue and is called so."""
    report = report_of(make_dataset(tmp_path, events=everybody(), decisions=mails()))
    assert report.result == "revenue"
    unknown = {name for name, value in account(report).items() if value is None}
    assert unknown == {"discounts and coupons", "returns", "points paid with", "cost of goods", "contact cost"}
    assert report.total.value == pytest.approx(10 * MANY)
    told = " ".join(facts(report))
    assert all(name in told for name in ("Not recorded:", "discounts", "returns", "points", "goods", "contact"))


def test_costs_of_a_few_goods_make_no_margin(make_dataset: Make, tmp_path: Path):
    events = [*everybody(), *(bought(who, item_id="gold", quantity=50) for who in people(False))]
    dataset = make_dataset(tmp_path, events=events, decisions=mails(), items=[{"item_id": "tea", "unit_cost": 1.0}])
    report = report_of(dataset)
    assert report.result == "revenue"
    assert "the cost is known of 6% of the sales" in " ".join(facts(report))  # (120 + 60 pieces of 10) of 31,800


def test_the_month_is_that_of_the_shop(make_dataset: Make, tmp_path: Path):
    """Half an hour before and after midnight in Tokyo, on both ends."""
    tokyo = month_of("2026-10", "Asia/Tokyo")
    assert (format_instant(tokyo.start), format_instant(tokyo.end)) == ("2026-09-30T15:00:00Z", "2026-10-31T15:00:00Z")
    pieces = {"2026-09-30T14:30Z": 1, "2026-09-30T15:30Z": 10, "2026-10-31T14:30Z": 100, "2026-10-31T15:30Z": 1000}
    events = [bought(who, at, quantity) for who in people(False) for at, quantity in pieces.items()]
    dataset = make_dataset(
        tmp_path, events=[*events, bought("stranger", "2026-12-01T00:00Z")], decisions=mails("2026-09-01T00:00Z")
    )
    assert report_of(dataset, tokyo).total.value == pytest.approx(110 * 10 * MANY)
    assert report_of(dataset).total.value == pytest.approx(1100 * 10 * MANY)


@pytest.mark.parametrize("text", ["2026-13", "2026", "October", "2026-1", "2026-10-01", ""])
def test_months_that_are_none(text: str):
    with pytest.raises(ConfigError, match="not a month"):
        month_of(text, "UTC")


def test_december_ends_with_the_year():
    assert month_of("2026-12", "UTC").end == parse_instant("2027-01-01")


def test_what_came_before_the_first_decision_does_not_count_but_foretells(make_dataset: Make, tmp_path: Path):
    """Customer i buys i pieces before and i after, the treated one more: the past takes all noise away."""
    events: Rows = []
    for number, (treated, held) in enumerate(zip(people(False), people(True), strict=True)):
        for who, more in ((treated, 1), (held, 0)):
            events += [bought(who, "2026-10-01T00:00Z", 1 + number), bought(who, quantity=1 + number + more)]
    dataset = make_dataset(tmp_path, events=[*events, bought("stranger", "2026-12-01T00:00Z")], decisions=mails())
    report = report_of(dataset)
    assert report.total.value == pytest.approx(10 * MANY)
    assert report.difference.saved == pytest.approx(1.0)
    assert report.total.high - report.total.low == pytest.approx(0.0, abs=1e-6)


def test_those_who_did_not_come_back_stay_in(make_dataset: Make, tmp_path: Path):
    """Decided for in spring and never again: the treated half of them came back and bought, the others count too."""
    events = [bought(who) for who in people(False)[::2]] + [bought("stranger", "2026-12-01T00:00Z")]
    report = report_of(make_dataset(tmp_path, events=events, decisions=mails("2026-04-01T00:00Z")))
    assert (report.difference.treated, report.difference.held) == (MANY, MANY)
    assert report.total.value == pytest.approx(10 * MANY / 2)
    assert parts(report, "channel") == {"not attributed": 5.0}


def test_a_decision_longer_ago_than_the_window_is_none(make_dataset: Make, tmp_path: Path):
    dataset = make_dataset(tmp_path, events=everybody(at="2026-10-10T10:00Z"), decisions=mails())
    assert parts(report_of(dataset), "channel") == {"email": 0.0, "not attributed": 10.0}  # 7 days to the second
    assert parts(report_of(dataset, window=7 * DAY + 1), "channel") == {"email": 10.0, "not attributed": 0.0}


def test_slots_of_one_page_share_and_the_last_decision_counts(make_dataset: Make, tmp_path: Path):
    """After the mail a page of two slots: both get half, the mail nothing."""
    page = [
        row
        for slot in ("hero", "band")
        for row in mails("2026-10-04T00:00Z", action=f"show-{slot}", surface="page.home", slot=slot)
    ]
    page = [{**row, "decision_id": f"{row['decision_id']}-{row['slot']}"} for row in page]
    report = report_of(make_dataset(tmp_path, events=everybody(), decisions=[*mails(), *page]))
    assert parts(report, "slot") == {
        "email / campaign": 0.0, "page.home / band": 5.0, "page.home / hero": 5.0, "not attributed": 0.0,
    }  # fmt: skip


def test_campaigns_stand_against_their_share_of_the_slots_held_out(make_dataset: Make, tmp_path: Path):
    """A third got the leaflet and bought 4, the others the letter and 1; the held out bought 1.

    Leaflet 4 x 1/3 - 1/3, letter 1 x 2/3 - 2/3: to say that the letter brought 2/3 would be what everybody buys anyway.
    """
    decisions, leaflets = mails(), set(people(False)[::3])
    for row in decisions:
        if row["customer_id"] in leaflets:
            row["action_id"] = "leaflet"
    events = [bought(who, quantity=4 if who in leaflets else 1) for who in [*people(False), *people(True)]]
    events.append(bought("stranger", "2026-12-01T00:00Z"))
    report = report_of(make_dataset(tmp_path, events=events, decisions=decisions))
    assert parts(report, "campaign") == {
        "email / campaign / leaflet": 10.0, "email / campaign / letter": 0.0, "not attributed": 0.0,
    }  # fmt: skip


def test_imported_experiments_know_no_holdout(make_dataset: Make, tmp_path: Path):
    """One went to all customers, held out or not, and to strangers: groups stay, strangers have none."""
    trial = {"policy": "experiment:autumn", "action_id": "card", "at": "2026-10-04", "surface": "post", "slot": "box"}
    decisions = [*mails(), *({**trial, "customer_id": who} for who in [*people(True), *people(False), "a", "b"])]
    report = report_of(make_dataset(tmp_path, events=everybody(), decisions=decisions))
    assert (report.difference.treated, report.difference.held) == (MANY, MANY)
    assert report.ledger.left_out == {STRANGERS: 2}
    assert parts(report, "campaign")["post / box / autumn: card"] == 10.0
    alone = make_dataset(tmp_path / "alone", events=everybody(), decisions=decisions[2 * MANY :])
    assert reasons(report_of(alone))[0].startswith("Nobody was held out")


def test_only_what_was_sent_costs_and_a_reuse_nothing(make_dataset: Make, tmp_path: Path):
    """One mail of three was sent; a decision that is shown again costs nothing again; an action may have no cost."""
    decisions = [*mails(), *mails("2026-10-06T00:00Z", reused_from="x"), *mails("2026-10-07T00:00Z", action="call")]
    sent = [
        {"type": "sent", "customer_id": who, "at": at, "decision_id": f"{who}-{day}"}
        for who in people(False)[::3]
        for at, day in (("2026-10-03T11:00Z", "2026-10-03T10:00Z"), ("2026-10-06T01:00Z", "2026-10-06T00:00Z"),
                        ("2026-10-07T01:00Z", "2026-10-07T00:00Z"))
    ]  # fmt: skip
    dataset = make_dataset(
        tmp_path, events=[*everybody(), *sent], decisions=decisions,
        actions=[
            {"action_id": "letter", "cost": cost, "valid_from": day}
            for day, cost in (("2026-01-01", 0.3), ("2026-10-20", 9.0))
        ],
    )  # fmt: skip
    report = report_of(dataset)
    assert account(report)["contact cost"] == -0.1
    assert "20 of 40 actions that were taken say no cost" in " ".join(facts(report))


def test_the_group_is_the_customers_not_the_browsers(make_dataset: Make, tmp_path: Path):
    """A browser that was treated, of a customer who is held out; and one whose decisions say both."""
    browsers = [
        {"visitor_id": f"v-{who}", "at": "2026-10-01T00:00Z", "action_id": "hello"} for who in people(True)
    ]  # fmt: skip
    links = [{"visitor_id": f"v-{who}", "customer_id": who, "linked_at": "2026-10-02T00:00Z"} for who in people(True)]
    torn = [{"customer_id": "torn", "at": f"2026-10-0{day}", "holdout": day == 2} for day in (1, 2)]
    dataset = make_dataset(
        tmp_path, events=[*everybody(), bought("torn", quantity=1000)], decisions=[*mails(), *browsers, *torn],
        identities=links,
    )  # fmt: skip
    report = report_of(dataset)
    assert (report.difference.treated, report.difference.held) == (MANY, MANY)
    assert report.ledger.left_out == {TORN: 1}
    assert report.total.value == pytest.approx(10 * MANY)
    assert "1 customers are left out" in " ".join(facts(report))


def test_whoever_asked_to_be_forgotten_is_gone(make_dataset: Make, tmp_path: Path):
    dataset = make_dataset(tmp_path, events=everybody(), decisions=mails())
    report = report_of(dataset, erased=lambda subject: subject == "c:t00")
    assert report.difference.treated == MANY - 1


def test_without_a_holdout_it_says_so(make_dataset: Make, tmp_path: Path):
    decisions = [{**row, "holdout": False} for row in mails()]
    report = report_of(make_dataset(tmp_path, events=everybody(), decisions=decisions))
    assert headline(report) == "These data cannot tell what personalisation brought in 2026-10."
    told = reasons(report)
    assert told[0] == "Nobody was held out, so there is nothing to compare with."
    assert re.search(r"takes [\d,]+ customers, 2\.0% of them held out; there were 120", told[1])
    assert (report.entries, report.parts) == ((), {})
    assert "What it is made of" not in html(report)


@pytest.mark.parametrize(
    ("held", "buyers", "sentence"),
    [(49, 60, "Only 49 customers were held out; with fewer than 50"), (60, 9, "Only 18 customers brought any money")],
)
def test_too_few_are_too_few(make_dataset: Make, tmp_path: Path, held: int, buyers: int, sentence: str):
    decisions = [row for row in mails() if row["customer_id"] not in people(True)[held:]]
    events = [bought(who) for who in [*people(False)[:buyers], *people(True)[:buyers]]]
    report = report_of(make_dataset(tmp_path, events=[*events, bought("x", "2026-12-01T00:00Z")], decisions=decisions))
    assert sentence in reasons(report)[0]


def test_a_month_that_is_not_over_and_one_that_has_not_begun(make_dataset: Make, tmp_path: Path):
    dataset = make_dataset(tmp_path, events=everybody(), decisions=mails())
    report = report_of(dataset, as_of=parse_instant("2026-10-09T08:30:00Z"))
    assert "The month is not over in the data: they end 2026-10-09 08:30." in reasons(report)
    assert not any("not over" in each for each in reasons(report_of(dataset)))
    with pytest.raises(DataError, match="end before the month begins"):
        report_of(dataset, month_of("2027-03", "UTC"))
    with pytest.raises(DataError, match="nobody was decided for"):
        report_of(dataset, month_of("2026-08", "UTC"))
    with pytest.raises(DataError, match="empty attribution window"):
        report_of(dataset, window=0)


def random_books(seed: int, spots: int, entries: int, *, unknown: bool) -> Ledger:
    """Books of nobody, with everything at random."""
    random = np.random.default_rng(seed)
    treated = np.arange(130) % 2 == 0
    names = [Spot(f"s{at % 2}", f"p{at % 3}", f"a{at}") for at in range(spots)]
    money = random.normal(size=(entries, len(LINES))) * random.exponential(size=(entries, 1))
    subject, spot = random.integers(0, 130, entries), random.integers(-1, spots, entries)
    theirs = spot[treated[subject] & (spot >= 0)]  # money of the treated comes after a decision of theirs
    decisions = random.integers(1, 4, spots) * np.bincount(theirs, minlength=spots)
    return Ledger(
        OCTOBER, OCTOBER.end, treated, random.exponential(size=130), subject, spot, money, tuple(names), decisions,
        untold={"goods": "x", "contact": "y"} if unknown else {},
    )  # fmt: skip


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(40, 400), st.booleans())
def test_parts_and_lines_sum_to_the_total(seed: int, spots: int, entries: int, unknown: bool):
    """However decisions lie, also where a slot was decided for the held out alone and where campaigns are many."""
    drawn = random_books(seed, spots, entries, unknown=unknown)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.experiments.redrawn.DRAWS", 20)
        patch.setattr("training.experiments.redrawn.FEWEST", 20)
        report = money_report(drawn, shop="toy", currency="EUR", zone="UTC", holdout=0.02)
    scale = max(1.0, float(np.abs(drawn.money).sum()))
    figures = {each.name: each.found.value for each in report.entries if each.found is not None}
    revenue = figures["revenue"]
    assert sum(figures[name] for name in list(figures)[: len(REVENUE)]) == pytest.approx(revenue, abs=1e-9 * scale)
    assert figures[report.result] == pytest.approx(report.total.value, abs=1e-9 * scale)
    for listed in report.parts.values():
        assert len(listed) <= 13
        assert sum(part.result.value for part in listed) == pytest.approx(report.total.value, abs=1e-9 * scale)
        assert sum(part.revenue.value for part in listed) == pytest.approx(revenue, abs=1e-9 * scale)


def test_names_from_data_are_text_and_the_paper_is_one_page(make_dataset: Make, tmp_path: Path):
    name = "<script>alert(1)</script> $x_1$ [b]"
    decisions = mails(action=name, slot="<b>slot</b>" + 80 * "x")
    report = report_of(make_dataset(tmp_path, events=everybody(), decisions=decisions))
    page = html(report)
    assert "<script" not in page
    assert "<b>slot" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "http" not in page
    paper = pdf(report)
    assert paper.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b(?!s)", paper)) == 1
    assert pdf(report) == paper


def test_the_paper_is_one_page_however_many_campaigns():
    report = money_report(random_books(1, 40, 4000, unknown=False), shop="toy", currency="EUR", zone="UTC", holdout=0.1)
    assert len(report.parts["campaign"]) == 13
    assert len(re.findall(rb"/Type\s*/Page\b(?!s)", pdf(report))) == 1


def test_figures_are_as_exact_as_they_need():
    assert [signed(value) for value in (-0.001, 99.994, 100.4, -2500)] == ["+0.00", "+99.99", "+100", "-2,500"]


def test_the_command(full: Dataset, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    """Table, page, paper and rows; the zone and the currency are those of shop.toml."""
    (tmp_path / "shop.toml").write_text('[shop]\ntime-zone = "Asia/Tokyo"\ncurrency = "JPY"\n', encoding="utf-8")
    asked = ["report", "money", "--shop", "toy", "--root", str(tmp_path)]
    with pytest.raises(SystemExit) as ended:
        main([*asked, "--month", "2026-10", "--json", str(tmp_path / "money.json")])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert "Personalisation brought 210 JPY of gross margin after contact cost" in out
    assert "From 2026-10-01 00:00 to 2026-11-01 00:00, Asia/Tokyo" in out
    assert (tmp_path / "reports" / "money-2026-10.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert (tmp_path / "reports" / "money-2026-10.pdf").read_bytes().startswith(b"%PDF")
    rows = {(row["subject"], row["metric"]): row for row in json.loads((tmp_path / "money.json").read_text())}
    assert rows["total", "gross margin after contact cost"]["value"] == pytest.approx(210)
    assert rows["account", "points paid with"]["value"] is None
    assert rows["customers", "held-out"]["value"] == MANY


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--month", "2026-13"], "--month"), (["--month", "2029-01"], "end before the month begins"),
        (["--month", "2026-10", "--as-of", "soon"], "--as-of"), (["--month", "2026-10", "--window", "0"], "window"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line(
    full: Dataset, capsys: pytest.CaptureFixture[str], tmp_path: Path, more: list[str], said: str
):
    with pytest.raises(SystemExit) as ended:
        main(["report", "money", "--shop", "toy", "--root", str(tmp_path), *more])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "reports").exists()


def test_the_rows_of_what_cannot_be_told_hold_no_figure(make_dataset: Make, tmp_path: Path):
    dataset = make_dataset(tmp_path, events=everybody(), decisions=[{**row, "holdout": False} for row in mails()])
    rows = {(row.subject, row.metric): row.value for row in json_rows(report_of(dataset))}
    assert np.isnan(rows["total", "revenue"])
    assert rows["customers", "treated"] == 2 * MANY
    assert books.NOTHING == "nothing"
