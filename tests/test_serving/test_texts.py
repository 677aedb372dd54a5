"""Words with placeholders: what is not known leaves a natural sentence, never a gap."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import ConfigError
from serving.texts import FIELDS, check_template, fields_of, pieces, plain, rendered


@pytest.mark.parametrize(
    ("template", "told", "said"),
    [
        ("Good evening[, {name}]!", {"name": "Ann"}, "Good evening, Ann!"),
        ("Good evening[, {name}]!", {}, "Good evening!"),
        ("[{name}様、]いらっしゃいませ", {}, "いらっしゃいませ"),
        ("Your {order.item}", {}, None),
        ("Your {order.item}[ from {region}]", {"order.item": "sofa"}, "Your sofa"),
        ("Sizes [[S, M]]", {}, "Sizes [S, M]"),
        ("", {}, ""),
        ("{name}", {"name": ""}, None),
        ("[{name} and {region}]x", {"name": "Ann"}, "x"),
    ],
)
def test_what_is_said(template: str, told: dict[str, str], said: str | None) -> None:
    assert rendered(template, told) == said


@pytest.mark.parametrize("broken", ["[{name}", "{name}]", "[a [b] c]", "]["])
def test_brackets_must_match(broken: str) -> None:
    with pytest.raises(ConfigError, match="bracket"):
        check_template(broken, "x", ())


def test_a_field_that_is_not_there_is_told_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        check_template("Hello {nmae}", "[actions.x]", ("pet",))
    assert 'did you mean "name"?' in caught.value.line() and "[actions.x]" in caught.value.line()
    check_template("Your {answers.pet}", "x", ("pet",))
    with pytest.raises(ConfigError):
        check_template("Your {answers.car}", "x", ("pet",))


words = st.text(st.characters(blacklist_characters="[]{}", blacklist_categories=("Cs",)), max_size=8)
names = st.sampled_from(sorted(FIELDS))
fields = names.map(lambda name: f"{{{name}}}")
parts = st.one_of(words, fields, st.tuples(words, fields).map(lambda pair: f"[{pair[0]}{pair[1]}]"))


@given(st.lists(parts, max_size=8).map("".join), st.sets(names))
def test_a_rendering_holds_no_brace_and_all_that_is_known(template: str, known: set[str]) -> None:
    """Second derivation: drop bracketed parts with unknown fields by regular expressions, then replace."""
    told = {name: FIELDS[name] for name in known}
    said = rendered(template, told)
    outside = re.sub(r"\[[^\]]*\]", "", template)
    if any(name not in told for name in re.findall(r"\{([^}]*)\}", outside)):
        assert said is None
        return
    kept = re.sub(
        r"\[([^\]]*)\]", lambda m: m[1] if all(n in told for n in re.findall(r"\{([^}]*)\}", m[1])) else "", template
    )
    assert said == re.sub(r"\{([^}]*)\}", lambda m: told[m[1]], kept)


@given(st.text(max_size=60))
def test_any_text_is_taken_apart_and_put_together_again(text: str) -> None:
    try:
        found = pieces(text)
    except ConfigError:
        return
    assert all(isinstance(name, str) for name in fields_of(text))
    assert sum(len(piece.parts) for piece in found) <= len(text) + 1


@given(st.text(max_size=400))
def test_plain_is_one_short_printable_line(text: str) -> None:
    said = plain(text)
    assert len(said) <= 200 and said.isprintable() and said == " ".join(said.split())
