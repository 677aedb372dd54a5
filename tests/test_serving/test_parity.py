"""Parity: the feature row logged with an answer equals the row rebuilt offline from the dataset as of that moment."""

from __future__ import annotations

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from features.assemble import FEATURE_NAMES, assemble
from features.build import histories_as_of
from features.dataset import Dataset
from features.history import customer_subject
from features.moments import DAY, HOUR
from serving import pages, pipeline, wire
from serving.engine import Engine
from serving.events import StoredEvent
from serving.logged_rows import rows_in
from serving.sync import sync
from tests.test_serving.grown import AGREED

AS_OF = 20_000 * DAY
ITEMS = [f"{group}{number}" for group in "ab" for number in range(4)]

happenings = st.lists(
    st.tuples(
        st.sampled_from(["view", "purchase", "wishlist", "wishlist_remove", "return", "cart"]),
        st.sampled_from(ITEMS),
        st.integers(1, 30),  # the hour, after the bundle, at which the shop heard of it
        st.sampled_from([0, 0, 1, 1, 50, 400]),  # how many hours earlier it had happened
        st.sampled_from([None, 1.0, 2.0]),
        st.sampled_from([None, 2.5]),
    ),
    min_size=1,
    max_size=14,
)


def play(engine: Engine, listed) -> None:
    """Events reach the store in order of hearing; between them the customer asks for lists and pages."""
    start = AS_OF + 2 * DAY
    for number, (kind, item, hour, before, quantity, price) in enumerate(sorted(listed, key=lambda one: one[2])):
        heard = start + hour * HOUR + 10 * number  # microseconds: what is heard later is recorded later
        event = StoredEvent(
            event_id=f"e{number}", occurred_at=start + (hour - before) * HOUR, recorded_at=heard, type=kind,
            customer_id="ann", item_id=item, quantity=quantity, unit_price=price,
        )  # fmt: skip
        engine.store.append_sync([event])
        if number % 2 == 0:
            pipeline.recommend(engine, wire.RecommendationsRequest(user_id="ann", num_results=5), heard)
        else:
            pages.page(engine, wire.PageRequest(user_id="ann"), heard)
    engine.decisions.close()


def rebuilt(engine: Engine, dataset: Dataset, decided_at: int, items: list[str]) -> np.ndarray:
    """The rows as training would compute them, from Parquet alone."""
    histories = histories_as_of(dataset, decided_at)
    bundle = engine.live.bundle
    past = histories.of(customer_subject("ann")).with_items(histories.items.translate_to(bundle.items))
    return assemble(past, bundle.items.rows_of(items), bundle.shared, bundle.as_of, decided_at)


@settings(
    max_examples=3, phases=[Phase.explicit, Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(listed=happenings)
def test_logged_rows_equal_rebuilt_rows(toy_shop_factory, listed):
    """With a bundle three days older than the request, events that arrive late, and ties in time: equal to the bit."""
    shop = toy_shop_factory()
    engine = Engine(shop, worker="parity")
    play(engine, listed)
    sync(shop, now=AS_OF + 5 * DAY)
    dataset = Dataset(shop.dataset)
    decisions = dataset.read("decisions").to_pylist()
    judged = 0
    for decision in decisions:
        if not decision["features"]:
            continue
        logged = rows_in(orjson.loads(decision["features"])["rows"])
        decided_at = int(decision["decided_at"].timestamp() * 1_000_000 + 0.5)
        again = rebuilt(engine, dataset, decided_at, decision["items"])
        assert logged.shape == (len(decision["items"]), len(FEATURE_NAMES))
        np.testing.assert_array_equal(logged, again)
        judged += 1
    engine.close()
    assert judged >= (len(listed) + 1) // 2


@pytest.fixture
def toy_shop_factory(tmp_path_factory, make_toy_bundle):
    """A new published shop each time it is called: Hypothesis runs the test many times."""
    from features.shop import Shop
    from serving.artifact import publish_live
    from serving.bundle import write_bundle

    def make() -> Shop:
        shop = Shop("toy", tmp_path_factory.mktemp("parity") / "shop")
        shop.root.mkdir()
        shop.config.write_text(AGREED + "[shop]\nholdout = 0.0\n")
        write_bundle(shop.bundles / "toy-1", make_toy_bundle())
        publish_live(shop.bundles, "toy-1")
        return shop

    return make
