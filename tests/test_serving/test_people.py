"""A person as of now: what was told before the last sync and since, at sign-ins, and with consents read first."""

from __future__ import annotations

import msgspec
import pytest

from features.moments import DAY, HOUR, format_instant
from features.order_reports import Report
from features.orders import OrderLine, Step
from serving.events import StoredEvent
from serving.people import consents_of, person_of
from serving.person import NOBODY, Consents, Person, Project
from tests.test_serving.conftest import AS_OF

NONE: frozenset[str] = frozenset()
YES, NO = {"granted": True, "at": "1"}, {"granted": False, "at": "2"}


def person(engine, user_id=None, visitor_id=None, now=AS_OF + DAY):
    return person_of(engine, engine.live, user_id, visitor_id, now)


def test_quick(toy_engine):
    assert person(toy_engine, "ann") is NOBODY
    toy_engine.store.put_customer("ann", {"name": "Ann", "answers": {"pet": "dog"}}, AS_OF)
    assert person(toy_engine, "ann").name == "Ann"
