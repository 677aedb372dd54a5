"""`kokyaku journey report`: counts against a plain loop, times against a plain product limit, and the command."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.dataset import Dataset
from features.errors import ConfigError, DataError, NotFoundError
from features.journey import STAGES, stage_of
from features.moments import DAY, HOUR, parse_instant
from features.shop import Shop
from features.timeline import stages_over
from tests.conftest import MakeDataset
from training.cli import main
from training.journey.figures import LEAST, SILENT, figures_of, kaplan_meier
from training.journey.reading import Travellers, lines_of, read
from training.journey.report import MOST_GROUPS, Asked, groups_of, report_on
from training.journey.spells import CODE, Spells, spells_of
from training.journey.words import OTHER, UNKNOWN, headline, lasting, notes, span, stage_rows
from training.known import Dimension
from training.plots.journey import PLACES, Box, _free, journey_map
from training.tracking import Tracking

MakeShop = Callable[[Path], Shop]
START = parse_instant("2020-01-01")
UNTIL = START + 300 * DAY


def at(days: float) -> int:
    return START + round(days * DAY)


def event(kind: str, days: float, customer: str | None = None, item: str | None = None, **more: Any) -> dict[str, Any]:
    who = {"customer_id": customer} if customer else {}
    return {"type": kind, "at": at(days), "occurred_at": at(days), "item_id": item, **who, **more}


def step(order: str, days: float, state: str, customer: str | None, **more: Any) -> dict[str, Any]:
    told = {"customer_id": customer} if customer else {}
    return {"order_id": order, "valid_from": at(days), "shipment_state": state, **told, **more}


ITEMS = [{"item_id": f"i{n}", "category": ["home", "sofas" if n < 3 else "lamps"]} for n in range(5)]


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory, make_dataset: MakeDataset) -> Dataset:
    """Ann bought, waits and uses; a visitor searched and went; Bob looked as a visitor and then signed in."""
    return make_dataset(
        tmp_path_factory.mktemp("toy") / "dataset",
        items=ITEMS,
        events=[
            event("view", 1, "ann", "i0", channel="web"),
            event("view", 2, "ann", "i1", channel="app"),
            event("cart", 3, "ann", "i1"),
            event("purchase", 4, "ann", "i1", channel="store"),
            event("search", 10, visitor_id="stranger", device="phone"),
            event("view", 20, item="i3", visitor_id="v-bob", channel="web"),
            event("view", 21, item="i4", visitor_id="v-bob"),
        ],
        identities=[{"visitor_id": "v-bob", "customer_id": "bob", "linked_at": at(22)}],
        orders=[
            step("o1", 4.1, "confirmed", "ann", item_id="i1", ordered_at=at(4)),
            step("o1", 9, "delivered", None),
            step("o2", 30, "shipped", "cid", item_id="i2"),
        ],
        customers=[
            {"customer_id": "ann", "tier": "gold", "region": "north", "attributes": '{"pet \\"x\\"": "dog"}'},
            {"customer_id": "bob", "tier": "none"},
        ],
    )  # fmt: skip


def spells(all_: Travellers, until: int = UNTIL) -> dict[str, list[tuple[str, float]]]:
    """Subject -> stages with the day from which they hold, rounded down to thousandths."""
    found = spells_of(all_, until)
    told: dict[str, list[tuple[str, float]]] = {}
    for row, code, start in zip(found.subject.tolist(), found.stage.tolist(), found.start.tolist(), strict=True):
        told.setdefault(all_.subjects[row], []).append((STAGES[code], (start - START) // (DAY // 1000) / 1000))
    return told


def test_toy_journeys(toy: Dataset):
    """Each subject's way, day by day: kinds, order lines, links of visitors, and one known by an order alone."""
    all_, now = read(toy, at(60))
    assert now == at(60)
    assert spells(all_, now) == {
        "c:ann": [("awareness", 1), ("consideration", 2), ("purchase", 3), ("waiting", 4.1), ("use", 9)],
        "c:bob": [("awareness", 20), ("consideration", 21), ("awareness", 34)],
        "v:stranger": [("consideration", 10), ("awareness", 24)],
        "c:cid": [("waiting", 30)],
    }


def test_until(toy: Dataset):
    """What comes later is not there; without a moment, all is known."""
    all_, _ = read(toy, at(21.5))
    assert "v:v-bob" in all_.subjects and "c:cid" not in all_.subjects
    assert read(toy, None)[1] == at(30) + 2


def test_steps_of_a_line(toy: Dataset):
    """A step need not repeat whose it is, what it is, and when it was ordered."""
    all_, _ = read(toy, at(60))
    (told,) = all_.lines(list(all_.subjects).index("c:ann"))
    assert (told.order_id, told.item_id, told.ordered_at) == ("o1", "i1", at(4))
    assert [(each.at, each.state) for each in told.steps] == [(at(4.1), "confirmed"), (at(9), "delivered")]
    assert lines_of(all_.steps.slice(0, 0)) == []


@pytest.mark.parametrize(
    ("by", "told"),
    [
        ("channel", {"c:ann": "web", "c:bob": "web"}), ("device", {"v:stranger": "phone"}),
        ("region", {"c:ann": "north"}), ("tier", {"c:ann": "gold", "c:bob": "none"}), ('pet "x"', {"c:ann": "dog"}),
    ],
)  # fmt: skip
def test_groups(toy: Dataset, by: str, told: Mapping[str, str]):
    """The first channel of each, the customers' record, and a key of their attributes, odd letters included."""
    all_, _ = read(toy, at(60), by)
    assert all_.group is not None
    found = zip(all_.subjects, all_.group.code.tolist(), strict=True)
    assert {subject: all_.group.names[code] for subject, code in found if code >= 0} == told


def test_unknown_group(toy: Dataset):
    with pytest.raises(NotFoundError, match=r'known are channel, .*pet "x"'):
        read(toy, at(60), "shoe size")


def test_erased_are_left_out(toy: Dataset):
    """Events and order lines of an erased subject are gone; the others keep theirs."""
    all_, now = read(toy, at(60), erased=lambda who: who in {"c:ann", "v:stranger"})
    assert set(spells(all_, now)) == {"c:bob", "c:cid"} and all_.gone == 2


def test_nothing(tmp_path: Path, make_dataset: MakeDataset):
    with pytest.raises(DataError, match="no dataset here"):
        read(Dataset(tmp_path / "none"), None)
    with pytest.raises(DataError, match="nothing is known of anybody"):
        read(make_dataset(tmp_path / "empty", items=ITEMS), None)


# Many subjects at random, for the counts.


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory, make_dataset: MakeDataset) -> tuple[Travellers, Spells]:
    """120 customers and 60 visitors who look, buy, wait and fall silent within 300 days."""
    draw = np.random.default_rng(7)
    events, orders = [], []
    kinds = ["view", "view", "search", "cart", "cart_remove", "wishlist", "purchase", "purchase", "return"]
    for subject in range(180):
        who = {"customer_id": f"c{subject}"} if subject < 120 else {"visitor_id": f"v{subject}"}
        for _ in range(int(draw.integers(1, 12))):
            kind, days = str(draw.choice(kinds)), float(draw.uniform(0, 299))
            events.append(event(kind, days, item=f"i{draw.integers(5)}", recorded_at=at(days + 0.2), **who))
            if kind == "purchase" and subject < 80:
                name = f"o{len(orders)}"
                orders.append(step(name, days + 0.3, "confirmed", f"c{subject}", ordered_at=at(days)))
                end = str(draw.choice(["delivered", "delivered", "cancelled"]))
                orders.append(step(name, days + float(draw.uniform(1, 9)), end, f"c{subject}"))
    made = make_dataset(tmp_path_factory.mktemp("crowd") / "dataset", items=ITEMS, events=events, orders=orders)
    all_, now = read(made, UNTIL)
    return all_, spells_of(all_, now)


def test_counts_against_a_plain_loop(crowd: tuple[Travellers, Spells]):
    """Sizes from the stage of the last moment, changes and their days from a walk along each journey."""
    all_, found = crowd
    since = at(100)
    customer = np.array([subject.startswith("c:") for subject in all_.subjects])
    figures = figures_of(found, customer, since, UNTIL)
    sizes: Counter[tuple[str, bool]] = Counter()
    moves: dict[tuple[str, str], list[float]] = {}
    begun: Counter[str] = Counter()
    lost: dict[str, list[bool]] = {}
    for row, subject in enumerate(all_.subjects):
        history, lines = all_.history(row), all_.lines(row)
        sizes[stage_of(history, lines, UNTIL - 1, category=all_.category).name, subject.startswith("c:")] += 1
        journey = stages_over(history, lines, START - DAY, UNTIL, category=all_.category)
        known = min(max(t + 1, r) for t, r in zip(history.time.tolist(), history.recorded.tolist(), strict=True))
        journey[0] = (known, journey[0][1])
        if len(journey) > 1 and journey[1][0] == known:
            journey = journey[1:]
        for (start, name), (end, after) in zip(journey, [*journey[1:], (UNTIL, "")], strict=True):
            begun[name] += start >= since
            if after and end >= since:
                moves.setdefault((name, after), []).append((end - start) / DAY)
            if name == "awareness":
                if (after or end - start >= SILENT) and min(end, start + SILENT) >= since:
                    lost.setdefault(name, []).append(end - start >= SILENT)
            elif name != "lapsed" and after and end >= since:
                lost.setdefault(name, []).append(after in {"lapsed", "awareness"})
    assert len(moves) > 15
    for place, name in enumerate(STAGES):
        assert (figures.customers[place], figures.visitors[place]) == (sizes[name, True], sizes[name, False])
        assert figures.begun[place] == begun[name]
        if len(lost.get(name, ())) >= LEAST:
            assert figures.drops[place].value == pytest.approx(statistics.mean(lost[name]))
            assert figures.drops[place].low <= figures.drops[place].value <= figures.drops[place].high
        else:
            assert np.isnan(figures.drops[place].value)
        for other_place, other in enumerate(STAGES):
            days = moves.get((name, other), [])
            assert figures.moves[place, other_place] == len(days)
            if days:
                assert figures.move_days[place, other_place] == pytest.approx(statistics.median(days))
    assert figures.subjects == len(all_) == figures.sizes.sum()


def test_groups_sum_to_all(crowd: tuple[Travellers, Spells]):
    """The largest groups, the others and the unknown share out everybody; the others are the smaller ones."""
    all_, found = crowd
    code = np.minimum(np.arange(len(all_)) // 10, 13).astype(np.int32) - 1
    group = Dimension(tuple("abcdefghijklm"), code)
    customer = np.ones(len(all_), bool)
    groups = groups_of(found, group, customer, START, UNTIL)
    assert len(groups) == MOST_GROUPS + 2 and list(groups)[-2:] == [OTHER, UNKNOWN]
    assert sum(each.subjects for each in groups.values()) == len(all_)
    whole = figures_of(found, customer, START, UNTIL)
    assert (sum(each.moves for each in groups.values()) == whole.moves).all()
    assert next(iter(groups)) == "m"
    alone = Dimension(("ann@example.org", "them"), np.minimum(np.arange(len(all_)), 1).astype(np.int32))
    assert list(groups_of(found, alone, customer, START, UNTIL)) == ["them", OTHER], "what names one person is not told"


@given(st.lists(st.tuples(st.integers(0, 12), st.booleans()), min_size=1, max_size=30))
def test_product_limit(rows: list[tuple[int, bool]]):
    """The share lasting beyond each time, by the definition: one factor a time at which somebody ended."""
    days, ended = np.array([float(row[0]) for row in rows]), np.array([row[1] for row in rows])
    times, lasting_share = kaplan_meier(days, ended)
    expected, share = [], 1.0
    for time in sorted({day for day, end in rows if end}):
        at_risk = sum(day >= time for day, _ in rows)
        share *= 1 - sum(day == time and end for day, end in rows) / at_risk
        expected.append((time, share))
    assert times.tolist() == [time for time, _ in expected]
    assert lasting_share == pytest.approx([each for _, each in expected], abs=1e-12)


@settings(max_examples=40)
@given(st.lists(st.integers(1, 40), min_size=LEAST, max_size=60), st.integers(1, 40))
def test_quartiles(days: list[int], seen: int):
    """Without censoring the quartiles of the sample; where too little has ended, not reached."""
    found = _uses(days, [True] * len(days))
    ordered = sorted(days)
    expected = [ordered[-(-len(days) * quarter // 4) - 1] for quarter in (1, 2, 3)]
    assert figures_of(found, np.ones(len(days), bool), START, UNTIL).days[CODE["use"]].tolist() == expected
    open_ = _uses([seen] * len(days), [False] * len(days))
    assert np.isinf(figures_of(open_, np.ones(len(days), bool), START, UNTIL).days[CODE["use"]]).all()


def test_too_few():
    """One spell less than needed: not defined, and said so."""
    figures = figures_of(_uses([5] * (LEAST - 1), [True] * (LEAST - 1)), np.ones(LEAST, bool), START, UNTIL)
    assert np.isnan(figures.days[CODE["use"]]).all() and np.isnan(figures.drops[CODE["use"]].value)
    assert lasting(figures, CODE["use"]) == "too few"


def _uses(days: list[int], ended: list[bool]) -> Spells:
    """One spell of use a subject, some ended in lapsed."""
    n = len(days)
    start = np.full(n, START)
    following = np.where(ended, CODE["lapsed"], -1).astype(np.int8)
    return Spells(np.arange(n), np.full(n, CODE["use"], np.int8), start, start + np.array(days) * DAY, following)


def test_spans():
    assert [span(days) for days in (10 / 1440, 0.25, 2.5, np.inf, np.nan)] == [
        "10 min", "6.0 h", "2.5 d", "not reached", "too few",
    ]  # fmt: skip


# The command.


@pytest.fixture
def shop(make_shop: MakeShop, make_dataset: MakeDataset, tmp_path: Path) -> Shop:
    """30 customers buy and go; the first half came by the web."""
    made = make_shop(tmp_path / "shop")
    events = []
    for number in range(30):
        events += [
            event("search", number / 10, f"person-{number}", channel="web" if number < 15 else "app"),
            event("purchase", number / 10 + 1, f"person-{number}", "i0"),
        ]
    events.append(event("search", 250, "late"))
    make_dataset(made.dataset, items=ITEMS, events=events)
    return made


def run(shop: Shop, *arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["journey", "report", *arguments, "--shop", shop.id, "--root", str(shop.root)])
    return int(ended.value.code or 0)


def test_command(shop: Shop, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    """Tables, page, rows, and a run with the map; nobody's name is anywhere."""
    rows, folder = tmp_path / "rows.json", tmp_path / "out"
    assert run(shop, "--by", "channel", "--out", str(folder), "--json", str(rows)) == 0
    out = capsys.readouterr().out
    assert "Of 31 people known on 2020-09-07, 30 are in lapsed (97%)" in out
    told = {(row["task"], row["subject"], row["metric"]): row for row in json.loads(rows.read_text())}
    assert told["all", "use", "to-lapsed"]["value"] == 30
    assert told["all", "use", "drop-off"]["value"] == 1
    assert told["all", "use", "days-median"]["value"] == pytest.approx(179)
    assert told["all", "lapsed", "days-median"]["value"] is None
    assert told["channel=web", "all", "people"]["value"] == 15
    page = (folder / "journey.html").read_text()
    assert "data:image/png;base64," in page and "By channel" in page and "person-" not in page
    tracking = Tracking(shop)
    found = tracking._client.search_runs([tracking._experiment])[0]
    assert found.data.metrics["lapsed/customers"] == 30
    artifacts = shop.mlflow_artifacts / found.info.run_id / "artifacts"
    assert (artifacts / "plots" / "journey.png").read_bytes().startswith(b"\x89PNG")
    assert all("person-" not in file.read_text() for file in artifacts.rglob("*.csv"))


def test_window(shop: Shop):
    """Only changes within the window count; sizes are those of its end."""
    report = report_on(shop, Asked(at(50), at(100)))
    assert not report.everybody.moves.any() and report.everybody.sizes[CODE["use"]] == 30
    assert "no stage has ended 20 times" in headline(report)
    later = report_on(shop, Asked(at(2), at(200)))
    assert later.everybody.moves[CODE["use"], CODE["lapsed"]] == 30
    assert 0 < later.everybody.moves[CODE["consideration"], CODE["purchase"]] < 30


def test_what_the_data_cannot_tell(shop: Shop):
    report = report_on(shop, Asked(by="tier"))
    said = " ".join(notes(report))
    assert "Nobody was in awareness, waiting, repeat: the data have no events or orders that make it." in said
    assert "The tier is not known of anybody" in said
    assert "lapsed" in stage_rows(report.everybody)[-1]


def test_deterministic(shop: Shop):
    """The same data, the same figures, whatever the order of the subjects' work."""
    one, two = report_on(shop, Asked()), report_on(shop, Asked())
    assert (one.everybody.moves == two.everybody.moves).all() and headline(one) == headline(two)
    heard: list[tuple[str, int, int]] = []
    report_on(shop, Asked(), lambda *told: heard.append(told))
    assert heard[-1] == ("journeys", 31, 31)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--since", "yesterday"), "not a time"), (("--until", "2019-01-01"), "nothing is known of anybody"),
        (("--since", "2020-06-01", "--until", "2020-06-01"), "the window ends before it begins"),
        (("--since", "2022-01-01"), "the window ends before it begins"),
        (("--by", "moon"), "subjects are not told apart by this"),
    ],
)  # fmt: skip
def test_refusals(shop: Shop, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], sentence: str):
    """One line on stderr and exit code 2; nothing is logged."""
    assert run(shop, *arguments) == 2
    error = capsys.readouterr().err
    assert sentence in error and "Traceback" not in error
    assert not Tracking(shop)._client.search_runs([Tracking(shop)._experiment])


def test_no_dataset(make_shop: MakeShop, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert run(make_shop(tmp_path / "bare")) == 2
    assert "no dataset here" in capsys.readouterr().err


def test_window_of_nothing(shop: Shop):
    with pytest.raises(ConfigError):
        report_on(shop, Asked(at(10), at(10)))
    assert report_on(shop, Asked(at(10), at(10) + HOUR)).everybody.subjects == 30


# The map.


def test_map_of_nobody():
    """No people, no changes: still a picture."""
    boxes = [Box(name, 0, ("0 people",)) for name in STAGES]
    assert journey_map(boxes, [], title="t", note="").startswith(b"\x89PNG")
    assert set(PLACES) == set(STAGES)


def test_words_of_arrows_keep_apart():
    """The middle of an arc where it is free, else the nearest place on it that is."""
    straight = (0.0, 0.0), (2.0, 0.0), (4.0, 0.0)
    assert _free(*straight, []) == (2.0, 0.0)
    assert _free(*straight, [(2.0, 0.0)])[0] == pytest.approx(1.36)
    assert _free(*straight, [(2.0, 0.2)]) == (2.0, 0.0)
    assert _free(*straight, [(x / 4, 0.0) for x in range(17)]) == (2.0, 0.0)
