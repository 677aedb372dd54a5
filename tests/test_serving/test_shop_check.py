"""Each finding about a shop's file with a file that triggers it and one that nearly does."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

import serving
from features.moments import parse_instant
from serving.__main__ import main
from serving.checks.clashes import clash
from serving.checks.finding import Look
from serving.checks.words import renderings
from serving.config import ShopConfig, read_config
from serving.settings.when import When
from serving.shop_check import check_shop, findings
from tests.test_serving.conftest import build_toy_bundle
from tests.test_serving.grown import policy

NOW = parse_instant("2030-06-15T12:00Z")
SAMPLES = sorted((Path(serving.__file__).parent / "samples").glob("*.toml"))
CARD = 'kind = "content"\ntexts = [{title = "A card"}]\n'
HOME = '[pages.home]\nslots = [{name = "top", modules = ["card", "popular"]}]\n'


def look(text: str, *, bundle: bool = False, **policies) -> Look:
    return Look(read_config(text, "shop.toml"), build_toy_bundle() if bundle else None, policies, NOW)


def told(text: str, **more) -> list[str]:
    """Warnings, as they are read."""
    return [f"{each.where}: {each.what}" for each in findings(look(text, **more)) if each.verdict == "warn"]


def notes(text: str, **more) -> list[str]:
    return [f"{each.where}: {each.what}" for each in findings(look(text, **more)) if each.verdict == "note"]


def card(*lines: str, page: bool = True) -> str:
    """A shop with one action, with some lines, at the top of its page."""
    return (HOME if page else "") + "[actions.card]\n" + CARD + "\n".join(lines) + "\n"


def test_nothing_is_said_of_what_the_shop_did_not_write() -> None:
    """The usual modules, actions and pages are ours to answer for: also with a bundle that knows other names."""
    assert findings(Look(ShopConfig(), None, {}, NOW)) == []
    assert findings(Look(read_config("", "x"), build_toy_bundle(), {}, NOW)) == []
    assert told(card("when = {known = true}")) == []


@pytest.mark.parametrize(
    ("bad", "good", "says"),
    [
        (card(page=False), card(), "stands in no slot, arm or channel"),
        (card("caps = {week = 0}"), card("caps = {week = 1}"), "caps.week = 0"),
        (card("capacity = 0"), card("capacity = 1"), "capacity = 0"),
        (card("cost = 2.0", "budget = 1.0"), card("cost = 2.0", "budget = 2.0"), "its budget of 1 is less"),
        (card("until = 2030-06-15"), card("until = 2030-06-16"), "it ended on 2030-06-15"),
        (card("until = 2030-06-10", "promise-days = 5.0"), card("until = 2030-06-10", "promise-days = 6.0"),
         "it ended on 2030-06-10"),
        (card("when = {until = 2030-06-15}"), card("when = {until = 2030-06-16}"), "it ended on 2030-06-15"),
        (card("when = {known = false, tiers = ['gold']}"), card("when = {known = true, tiers = ['gold']}"), "no tier"),
        (card("when = {stages = ['waiting'], orders = [0, 0]}"), card("when = {stages = ['waiting'], orders = [0, 1]}"),
         "at stage waiting somebody has ordered"),
        (card("when = {stages = ['repeat'], orders = [1, 1]}"),
         card("when = {stages = ['repeat', 'use'], orders = [1, 1]}"), "at stage repeat"),
        (card("when = {orders = [3, 2]}"), card("when = {orders = [2, 2]}"), "orders from 3 to 2"),
        (card("when = {hours = {from = 09:00:00, until = 09:00:00}}"),
         card("when = {hours = {from = 09:00:00, until = 09:01:00}}"), "they hold no minute"),
        (card("when = {received = {after-days = 3, before-days = 3}}"),
         card("when = {received = {after-days = 3, before-days = 4}}"), "nothing is received"),
        (card("when = {seasons = ['winter'], months = [6, 7]}"), card("when = {seasons = ['winter'], months = [2, 7]}"),
         "it is never winter"),
        (card("when = {bought = ['A > B'], not-bought = ['A']}"),
         card("when = {bought = ['A'], not-bought = ['A > B']}"), "is to be bought and not bought"),
        (card("from = 2030-08-01", "when = {until = 2030-08-01}"),
         card("from = 2030-07-31", "when = {until = 2030-08-01}"), "days that begin on 2030-08-01"),
    ],
)  # fmt: skip
def test_what_can_never_be_shown(bad: str, good: str, says: str) -> None:
    assert any(says in each for each in told(bad)), told(bad)
    assert told(good) == []


ASKED = (
    '[questions.pet]\ntext = {en = "A pet?"}\nwhy = {en = "For this page."}\n'
    'options = [{value = "dog", label = {en = "A dog"}}, {value = "cat", label = {en = "A cat"}}]\n'
    '[actions.ask]\nkind = "question"\nquestion = "pet"\ntexts = [{title = "Hello"}]\n'
)
BOTH = '[pages.home]\nslots = [{name = "top", modules = ["card", "ask", "popular"]}]\n'


def test_answered_and_unanswered_contradict() -> None:
    pair = '[actions.card]\nkind = "content"\ntexts = [{{title = "x"}}]\nwhen = {{{}}}\n'
    bad = BOTH + ASKED + pair.format("answers = {pet = ['dog']}, unanswered = ['pet']")
    assert told(bad) == ["[actions.card]: it can never be shown: pet is to be answered and unanswered"]
    assert told(BOTH + ASKED + pair.format("answers = {pet = ['dog']}")) == []
    says = BOTH + ASKED + pair.format("unanswered = ['pet']").replace('"x"', '"For your {answers.pet}"')
    assert told(says) == ["[actions.card] text 1: it can never be said: it says answers.pet, which is to be unanswered"]


def test_a_segment_brings_its_conditions() -> None:
    config = read_config("[segments.new]\norders = [0, 0]\n[segments.old]\norders = [2, 9]\n", "x")
    named = When(segments=("new",)), When(orders=(1, 5))
    assert clash(config, *named) == "at least 1 and at most 0 orders"
    assert clash(config, When(segments=("old",)), named[1]) is None
    assert clash(config, When(segments=("new", "old")), named[1]) is None, "either will do"
    assert clash(config, When(segments=("new",), not_segments=("new",))) is not None
    assert clash(config, When(segments=("new",), not_segments=("old",))) is None


def test_southern_winters_are_in_july() -> None:
    july = When(seasons=("winter",), months=(7,))
    assert clash(ShopConfig(), july) is not None
    assert clash(read_config("[shop]\nsouthern = true\n", "x"), july) is None


@pytest.mark.parametrize(
    ("bad", "good", "says"),
    [
        ("[segments.new]\norders = [0, 0]\n", card("when = {segments = ['new']}") + "[segments.new]\norders = [0, 0]\n",
         "[segments.new]: no condition names it"),
        ('[projects.room]\nlabel = {en = "a room"}\ncategories = ["A"]\n',
         card("when = {projects = ['room']}") + '[projects.room]\nlabel = {en = "a room"}\ncategories = ["A"]\n',
         "[projects.room]: no condition"),
        ('[pages.home]\nslots = [{name = "top", modules = ["popular"]}]\n' + ASKED,
         BOTH + ASKED + card("when = {answers = {pet = ['dog']}}", page=False),
         "[questions.pet]: no action that can be shown puts it"),
        (BOTH + ASKED + card(page=False), BOTH + ASKED + card("when = {unanswered = ['pet'], answers = {}}", page=False)
         .replace('"A card"', '"A card[ for your {answers.pet}]"'), "[questions.pet]: its answer changes nothing"),
        ("[segments.odd]\nknown = false\ntiers = ['gold']\n" + card("when = {segments = ['odd', 'fine']}")
         + "[segments.fine]\nknown = true\n",
         "[segments.odd]\nknown = true\n" + card("when = {segments = ['odd']}"), "[segments.odd]: it can never hold"),
    ],
)  # fmt: skip
def test_what_nothing_uses_or_ever_holds(bad: str, good: str, says: str) -> None:
    assert any(each.startswith(says) for each in told(bad)), told(bad)
    assert not any(each.startswith(says) for each in told(good)), told(good)


def page(*slots: str, name: str = "home") -> str:
    return f"[pages.{name}]\nslots = [{', '.join(slots)}]\n"


def slot(name: str, *modules: str, more: str = "") -> str:
    return f'{{name = "{name}", modules = [{", ".join(repr(each) for each in modules)}]{more}}}'


OWN = '[modules.row]\nkind = "for-you"\ntitle = {en = "A row"}\n'


@pytest.mark.parametrize(
    ("bad", "good", "says"),
    [
        (page(slot("a", "popular", "viewed")), page(slot("a", "viewed", "popular")),
         "[pages.home] slot a: viewed stands after popular, which can always be shown"),
        (page(slot("a", "card", "row")) + card(page=False) + OWN,
         page(slot("a", "row", "card")) + card(page=False) + OWN,
         "[pages.home] slot a: row stands after card, which can always be shown; row can never be shown at all"),
        # What was taken above can be passed over, what needs a field too, and the holdout gets what is popular.
        (page(slot("a", "card", "viewed")) + card(page=False),
         page(slot("b", "row", "card"), slot("a", "card", "viewed", "popular")) + card(page=False) + OWN,
         "viewed stands after card"),
        (page(slot("a", "card", "viewed")) + card(page=False),
         page(slot("a", "card", "viewed")) + card(page=False).replace("A card", "Dear {name}"),
         "viewed stands after card"),
        (page(slot("a", "card", "viewed")) + card(page=False),
         page(slot("a", "card", "popular", "order-status")) + card(page=False), "stand"),
        (page(slot("a", "card", "viewed")) + card(page=False),
         page(slot("a", "card", "viewed")) + card("cool-down-days = 1.0", page=False), "viewed stands after card"),
    ],
)  # fmt: skip
def test_lists_that_are_never_read_to_their_end(bad: str, good: str, says: str) -> None:
    assert any(says in each for each in told(bad)), told(bad)
    assert not any("stand" in each and "after" in each for each in told(good)), told(good)


def test_what_stands_on_a_page_once_can_be_passed_over_below() -> None:
    mine = '[modules.mine]\nkind = "popular"\ntitle = {en = "Much bought"}\nminimum = 1\n'
    twice = page(slot("a", "mine"), slot("b", "mine", "viewed", "popular")) + mine
    assert told(twice) == []
    again = told(twice + 'again = {en = "More of it"}\n')
    assert again == ["[pages.home] slot b: viewed stands after mine, which can always be shown"]


def test_slots_that_can_end_empty() -> None:
    drawn = page(slot("a", "viewed", "popular", more=', policy = "hero"'))
    nothing = policy("hero", {"viewed": 0.1, "popular": 0.2})
    always = policy("hero", {"viewed": 0.1, "popular": 0.2}, nothing=False)
    assert notes(drawn, hero=nothing) == ["[pages.home] slot a: it can stay empty: hero may take nothing"]
    assert notes(drawn, hero=always) == [] == told(drawn, hero=always)
    bare = page(slot("a", "viewed", "for-you", more=', policy = "hero"'))
    assert "it can end empty" in told(bare, hero=policy("hero", {"viewed": 0.1, "for-you": 0.2}, nothing=False))[0]
    assert "may-be-empty" in notes(page(slot("a", "viewed", more=", may-be-empty = true")))[0]
    assert notes(page(slot("a", "viewed"))) == [] == told(page(slot("a", "viewed"))), "popular is added"
    twice = page(slot("top", "popular"), slot("a", "popular", more=', policy = "hero"'))
    alone = policy("hero", {"popular": 0.2}, nothing=False)
    assert "as a slot above may take popular" in told(twice, hero=alone)[0], "a policy draws nothing twice"
    assert told(twice.replace(', policy = "hero"', "")) == [], "it stands there once more, under another heading"
    strange = policy("hero", {"viewed": 0.1}, nothing=False)
    assert any("popular is never drawn" in each for each in told(drawn, hero=strange))


def test_messages_tell_facts_and_sell_one_thing() -> None:
    bare = page(slot("a", "for-you"), slot("b", "viewed"), name="email")
    assert told(bare) == [
        "[pages.email]: a message that tells no facts: no slot may show the status of orders",
        "[pages.email] slot b: it stays empty: a message sells one thing, and a does",
    ]
    assert told(page(slot("a", "order-status"), slot("b", "viewed"), name="email")) == []
    assert told(page(slot("a", "for-you"), slot("b", "viewed"), name="app")) == [], "a screen"


@pytest.mark.parametrize(
    ("first", "second", "cancel"),
    [
        ("factor = 2.0", "factor = 0.5", True),
        ("factor = 2.0", "factor = 3.0", False),
        ("factor = 2.0\nuntil = 2030-07-01", "factor = 0.5\nfrom = 2030-07-01", False),
        ("factor = 2.0\nuntil = 2030-07-02", "factor = 0.5\nfrom = 2030-07-01", True),
    ],
)
def test_boosts_that_take_one_another_back(first: str, second: str, cancel: bool) -> None:
    text = "".join(
        f'[[selection.boosts]]\nbrand = "{name}"\n{each}\n' for name, each in (("Own", first), ("own", second))
    )
    assert [each.partition(":")[0] for each in told(text)] == (["[[selection.boosts]] number 2"] if cancel else [])
    assert told(text.replace('"own"', '"other"')) == []


def test_families_decide_alike() -> None:
    text = page(slot("a", "viewed", "popular", more=', policy = "hero", family = "f"')) + (
        '[pages.landing]\nslots = [{name = "b", modules = ["popular", "viewed"], policy = "hero", family = "f"%s}]\n'
    )
    hero = policy("hero", {"viewed": 0.1, "popular": 0.2}, nothing=False)
    assert told(text % "", hero=hero) == []
    assert "epoch-days 1 and 7" in told(text % ", epoch-days = 7", hero=hero)[0]
    odd = text.replace('["popular", "viewed"]', '["popular", "for-you"]')
    assert any("lists that differ in for-you, viewed" in each for each in told(odd % "", hero=hero))


MAIL = '[channels.email]\nactions = ["card"]\n'


def test_channels_purposes_and_quiet_hours() -> None:
    good = MAIL + card(page=False)
    assert told(good) == []
    assert any(
        "nothing is ever sent: caps.day = 0" in each for each in told(MAIL + "caps = {day = 0}\n" + card(page=False))
    )
    assert notes('[channels.email]\nactions = ["letter"]\n')[0].startswith("[channels.email]: letter is not declared")
    assert "consent to it is refused" in told(card('purpose = "gifts"'))[0]
    assert told(card('purpose = "gifts"') + '[channels.gift]\nactions = ["card"]\npurpose = "gifts"\n') == []
    assert told(card('purpose = "marketing"')) == []
    assert 'it asks for consent to "marketting"' in told(MAIL + 'purpose = "marketting"\n' + card(page=False))[0]
    quiet = "[quiet]\nfrom = 08:00:00\nuntil = {}\n"
    assert "they leave 1 minutes" in told(quiet.format("07:59:00") + good)[0]
    assert told(quiet.format("08:00:00") + good) == [], "none at all"
    assert told(quiet.format("07:00:00") + good) == []
    assert told(quiet.format("07:59:00") + good.replace("email", "direct-mail")) == []
    night = "when = {hours = {from = 22:00:00, until = 23:00:00}}"
    assert "its hours are quiet ones" in told(MAIL + card(night, page=False))[0]
    assert told(MAIL + "quiet = false\n" + card(night, page=False)) == []
    assert told(MAIL + card(night)) == [], "it stands on a page, too"


@pytest.mark.parametrize(
    ("caps", "steps", "late"),
    [
        ("week = 1", ((0, 2), (1, 2)), True),
        ("week = 1", ((0, 2), (1, 7)), False),
        ("week = 1", ((0, 0), (7, 0)), False),
        ("week = 1", ((0, 0), (6, 0)), True),
        ("week = 2", ((0, 2), (1, 2)), False),
        ("ever = 1", ((0, 2), (90, 14)), True),
    ],
)
def test_caps_leave_room_for_sequences(caps: str, steps, late: bool) -> None:
    listed = ", ".join(
        f'{{action = "card", channel = "email", delay-days = {delay}, within-days = {within}}}'
        for delay, within in steps
    )
    text = MAIL + f"caps = {{{caps}}}\n" + card(page=False)
    text += f'[sequences.after]\ntrigger = "purchase"\nsteps = [{listed}]\n'
    assert [each.partition(":")[0] for each in told(text)] == (["[sequences.after]"] if late else [])
    slow = text.replace(f"caps = {{{caps}}}\n", "").replace(
        "[actions.card]\n", "[actions.card]\ncool-down-days = 365.0\n"
    )
    assert any("step 2" in each for each in told(slow)), "its own cool-down counts too"


def test_arms_that_change_nothing() -> None:
    arms = "[experiments.e.arms.a]\nshare = 0.5\n[experiments.e.arms.b]\nshare = 0.5\nslots.top = {{modules = {}}}\n"
    top = page(slot("top", "viewed"))
    assert "changes nothing of top" in " ".join(told(top + arms.format('["viewed"]')))
    assert "changes nothing of top" in " ".join(told(top + arms.format('["viewed", "popular"]')))
    assert told(top + arms.format('["for-you", "popular"]')) == []
    assert "it can end empty" in " ".join(told(top + arms.format('["for-you"]'))), "an arm has no floor"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("when = {looking-at = ['Groop > A']}", 'no category begins with "Groop > A": looking-at can never hold'),
        ("when = {received = {categories = ['Group > C']}}", "received can never hold"),
        ("category = 'Grup > A'", "it is about nothing"),
        ("when = {regions = ['nort']}", 'nobody known is from "nort"'),
    ],
)
def test_names_that_the_catalogue_does_not_have(line: str, says: str) -> None:
    assert any(says in each for each in told(card(line), bundle=True)), told(card(line), bundle=True)
    assert told(card(line)) == [], "without a bundle nothing is known of names"
    fine = {"Groop > A": "Group > A", "Group > C": "Group", "Grup > A": "Group > A", "nort'": "north'"}
    for odd, right in fine.items():
        line = line.replace(odd, right)
    assert told(card(line), bundle=True) == []


def test_the_nearest_name_is_told_and_a_stranger_beside_known_ones_is_a_note() -> None:
    found = findings(look(card("when = {looking-at = ['group > a']}"), bundle=True))
    assert found[0].remedy == 'did you mean "Group > A"?'
    both = card("when = {looking-at = ['Group > A', 'ペット']}")
    assert told(both, bundle=True) == []
    assert notes(both, bundle=True) == ['[actions.card]: no category begins with "ペット"']
    boost = '[[selection.boosts]]\nitem-id = "{}"\nfactor = 2.0\n'
    assert "no item is of item-id" in told(boost.format("a9"), bundle=True)[0]
    assert told(boost.format("a1"), bundle=True) == []
    days = '[repurchase.days]\n"{}" = 10\n'
    assert 'no category begins with "Groups > A"' in told(days.format("Groups > A"), bundle=True)[0]
    assert told(days.format("家具"), bundle=True) == [], "nothing is near: another catalogue has it"


def words(title: str, text: str = "") -> str:
    return card().replace('{title = "A card"}', f'{{title = "{title}", text = "{text}"}}')


@pytest.mark.parametrize(
    ("bad", "good", "says"),
    [
        ("Hello [{name}] there", "Hello[ {name}] there", "two spaces in a row"),
        ("Hello [{name}], there", "Hello[ {name}], there", "a space before punctuation"),
        ("[{name}], hello", "[{name}, ]Hello", "begins with punctuation"),
        ("[{name}]", "Hello[ {name}]", "is empty"),
        ("Hello, [{name}]!", "Hello[, {name}]!", "a space before punctuation"),
        ("Yours [{name}]", "Yours[ {name}]", "begins or ends with a space"),
        ("Dear None", "Dear Nona", "says 'None'"),
        ("[{name}, ]your card", "Your card[, {name}]", "begins with a small letter"),
        ("[{name}]様、ようこそ、[{region}]。", "[{name}様、]ようこそ[、{region}]。", "two punctuation marks"),
    ],
)
def test_renderings_that_nobody_would_write(bad: str, good: str, says: str) -> None:
    assert any(says in each for each in told(words(bad))), told(words(bad))
    assert not any(says in each for each in told(words(good))), told(words(good))
    assert any(says in each for each in told(words("Fine", bad))) or says in ("is empty", "begins with a small letter")


def test_every_case_is_rendered() -> None:
    text = words("Hello[, {name}]", "Seen in {region}[ for {answers.pet}].") + BOTH.replace("home", "landing") + ASKED
    said = {(each.key, each.case): each.words for each in renderings(look(text)) if "card" in each.where}
    assert said == {
        ("title", "all known"): "Hello, Ann", ("title", "nothing known"): "Hello",
        ("text", "all known"): "Seen in north for dog.", ("text", "nothing known"): None,
        ("text", "no region"): None, ("text", "no answers.pet"): "Seen in north.",
    }  # fmt: skip


TWO = '[actions.card]\nkind = "content"\ntexts = [{}, {}]\n'


@pytest.mark.parametrize(
    ("first", "second", "never"),
    [
        ('{title = "a"}', '{title = "b"}', True),
        ('{title = "a {name}"}', '{title = "b"}', False),
        ('{title = "a {name}"}', '{title = "b {name}{region}"}', True),
        ('{title = "a {name}{region}"}', '{title = "b {name}"}', False),
        ('{title = "a"}', '{title = "b {name}"}', True),
        ('{title = "a", locale = "en"}', '{title = "b"}', False),
        ('{title = "a", when = {known = true}}', '{title = "b"}', False),
        ('{title = "a", when = {known = true}}', '{title = "b", when = {known = true}}', True),
        ('{title = "a", when = {known = true}}', '{title = "b", when = {known = true, until = 2030-01-01}}', True),
        ('{title = "a {name}"}', '{title = "b", when = {stages = ["repeat"], orders = [0, 1]}}', True),
    ],
)
def test_variants_that_can_never_be_said(first: str, second: str, never: bool) -> None:
    found = [each for each in told(HOME + TWO.format(first, second)) if "text 2: it can never be said" in each]
    assert bool(found) == never


def test_what_cannot_be_said_to_a_stranger_is_a_note_unless_the_condition_brings_it() -> None:
    assert "its words need name" in notes(words("Dear {name}"))[0]
    assert notes(words("Dear[ {name}]")) == []
    assert notes(words("Dear {name}") + "when = {known = true}\n") == []
    assert notes(words("Your {order.item}") + "when = {awaiting = ['A']}\n") == []


def test_words_missing_in_a_language() -> None:
    both = (
        card()
        .replace("texts = [", 'texts = [{title = "カード", locale = "ja"}, ')
        .replace('{title = "A card"}', '{title = "A card", locale = "en"}')
    )
    assert told(both) == []
    assert any(
        "[modules.row] title: no words in ja" in each for each in told(both + OWN + page(slot("x", "row"), name="p"))
    )
    assert told(card() + OWN + page(slot("x", "row"), name="p")) == [], "nobody speaks Japanese here"


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_samples_have_no_warnings(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert told(text) == []
    examples = "\n".join(line.removeprefix("#: ") for line in text.splitlines() if line.startswith("#: "))
    assert examples or path.stem != "plain"
    if path.stem == "plain":  # the examples hold what they promise, and every table is there
        tables = {name.partition(".")[0] for name in re.findall(r"^(?:#: )?\[+([^\]]+)\]", text, re.MULTILINE)}
        assert tables == {field.encode_name for field in msgspec.structs.fields(ShopConfig)}
        examples += "\n" + '[channels.email]\nactions = ["newsletter"]\n[actions.newsletter]\n' + CARD
        shown = read_config(examples, "examples")
        assert (
            shown.consent.assumed
            and shown.selection.boosts
            and shown.projects
            and shown.experiments
            and shown.sequences
            and shown.access.origins
        )
        assert {each.name for each in SAMPLES} == {"home.toml", "plain.toml"}


def test_a_file_that_cannot_be_read_is_one_failure_with_the_nearest_name(toy_shop) -> None:
    checked = check_shop(toy_shop, HOME)
    assert (checked.exit_code, checked.summary) == (2, "1 failure, 0 warnings, 0 notes")
    assert "valid names: " in checked.findings[0].remedy and "line 2" in checked.findings[0].where
    checked = check_shop(toy_shop, page(slot("a", "popular", more=', policy = "hreo"')))
    assert [each.verdict for each in checked.findings][:1] == ["fail"] and checked.look is not None
    assert check_shop(toy_shop, card()).exit_code == 0


def test_without_a_bundle_the_check_says_what_it_could_not_see(toy_shop, tmp_path, capsys) -> None:
    draft = tmp_path / "draft.toml"
    draft.write_text(card("when = {looking-at = ['Nowhere']}"))
    given = ["--shop", toy_shop.id, "--root", str(toy_shop.root), "shop", "check", "--file", str(draft)]
    assert main(given) == 0
    assert "Nowhere" in capsys.readouterr().out
    (toy_shop.bundles / "live.json").unlink(missing_ok=True)
    for pointer in toy_shop.bundles.iterdir():
        if not pointer.is_dir() or pointer.is_symlink():
            pointer.unlink()
    assert main([*given, "--words"]) == 0
    out = capsys.readouterr().out
    assert "were not looked up: no bundle serves yet" in out and "title (all known): A card" in out
    draft.write_text("[shop]\nholdouts = 1\n")
    assert main(given) == 2
    assert "fail" in capsys.readouterr().out
    draft.unlink()
    assert main(given) == 2
    assert "cannot be read" in capsys.readouterr().err
