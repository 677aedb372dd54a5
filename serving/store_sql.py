"""The store's tables and every statement on them, in one place, in SQLite's words.

`serving.postgres_sql` renders them for PostgreSQL: what both understand is said so that both do.

`seq` grows with each commit and is never reused: "after seq" means "committed since". An item's or customer's
changes are rows too (`change`), so that prices and consents keep their history until it is in the dataset.
"""

from __future__ import annotations

from typing import Final

_TABLES: Final = (
    """CREATE TABLE events (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT NOT NULL UNIQUE,
        customer_id TEXT, visitor_id TEXT, occurred_at INTEGER NOT NULL, recorded_at INTEGER NOT NULL,
        type TEXT NOT NULL, item_id TEXT, payload BLOB NOT NULL)""",
    "CREATE INDEX events_of_customer ON events (customer_id, seq) WHERE customer_id IS NOT NULL",
    "CREATE INDEX events_of_visitor ON events (visitor_id, seq) WHERE visitor_id IS NOT NULL",
    """CREATE TABLE decisions (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, decision_id TEXT NOT NULL UNIQUE,
        customer_id TEXT, visitor_id TEXT, request_id TEXT, decided_at INTEGER NOT NULL, payload BLOB NOT NULL)""",
    "CREATE INDEX decisions_of_customer ON decisions (customer_id) WHERE customer_id IS NOT NULL",
    "CREATE INDEX decisions_of_visitor ON decisions (visitor_id) WHERE visitor_id IS NOT NULL",
    """CREATE TABLE items (
        change INTEGER PRIMARY KEY AUTOINCREMENT, item_id TEXT NOT NULL, payload BLOB NOT NULL,
        changed_at INTEGER NOT NULL)""",
    "CREATE INDEX items_by_id ON items (item_id, change)",
    """CREATE TABLE customers (
        change INTEGER PRIMARY KEY AUTOINCREMENT, customer_id TEXT NOT NULL, payload BLOB NOT NULL,
        changed_at INTEGER NOT NULL)""",
    "CREATE INDEX customers_by_id ON customers (customer_id, change)",
    # A sign-in names its customer, a sign-out none. seq is the event's.
    """CREATE TABLE links (
        seq INTEGER PRIMARY KEY, visitor_id TEXT NOT NULL, customer_id TEXT, linked_at INTEGER NOT NULL)""",
    "CREATE INDEX links_of_customer ON links (customer_id, visitor_id) WHERE customer_id IS NOT NULL",
    "CREATE INDEX links_of_visitor ON links (visitor_id, linked_at)",
    """CREATE TABLE tombstones (
        number INTEGER PRIMARY KEY AUTOINCREMENT, token BLOB NOT NULL UNIQUE, at INTEGER NOT NULL)""",
    """CREATE TABLE receipts (
        receipt_id TEXT PRIMARY KEY, kind TEXT NOT NULL, token BLOB, state TEXT NOT NULL, payload BLOB NOT NULL,
        at INTEGER NOT NULL)""",
    "CREATE INDEX receipts_of_token ON receipts (token)",
    # What an erased customer's events brought to decisions: no column leads to whose they were.
    """CREATE TABLE rewards (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, decision_id TEXT NOT NULL, reward TEXT NOT NULL, value REAL NOT NULL,
        at INTEGER NOT NULL)""",
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value NOT NULL)",
    "INSERT INTO meta (name, value) VALUES ('store_id', lower(hex(randomblob(8))))",
)
# Draws that hold until their epoch ends; subject is `c:` or `v:` and an id.
_HELD: Final = (
    """CREATE TABLE held (
        subject TEXT NOT NULL, family TEXT NOT NULL, place INTEGER NOT NULL, epoch INTEGER NOT NULL,
        decided_at INTEGER NOT NULL, ends_at INTEGER NOT NULL, payload BLOB NOT NULL,
        PRIMARY KEY (subject, family, place, epoch)) WITHOUT ROWID""",
    "CREATE INDEX held_by_end ON held (ends_at)",
)
# Rows of changes, as of items and customers. What visitors told goes to a customer at the sign-in.
_PEOPLE: Final = (
    """CREATE TABLE orders (
        change INTEGER PRIMARY KEY AUTOINCREMENT, order_id TEXT NOT NULL, line TEXT NOT NULL,
        customer_id TEXT NOT NULL, payload BLOB NOT NULL, changed_at INTEGER NOT NULL)""",
    "CREATE INDEX orders_of_customer ON orders (customer_id, change)",
    "CREATE INDEX orders_by_line ON orders (order_id, line, change)",
    """CREATE TABLE visitors (
        change INTEGER PRIMARY KEY AUTOINCREMENT, visitor_id TEXT NOT NULL, payload BLOB NOT NULL,
        changed_at INTEGER NOT NULL)""",
    "CREATE INDEX visitors_by_id ON visitors (visitor_id, change)",
)
# What the shop stopped everywhere; a lifted stop stays, for whoever asks later.
_STOPS: Final = (
    """CREATE TABLE stops (
        number INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, name TEXT NOT NULL, because TEXT NOT NULL,
        who TEXT NOT NULL, at INTEGER NOT NULL, lifted_by TEXT, lifted_at INTEGER)""",
    "CREATE UNIQUE INDEX stops_in_force ON stops (kind, name) WHERE lifted_at IS NULL",
)
# What was shown of what is limited, and each message, under the person's name; and what was given out, under nobody's.
_SHOWN: Final = (
    """CREATE TABLE shown (
        decision_id TEXT PRIMARY KEY, subject TEXT NOT NULL, action_id TEXT NOT NULL, surface TEXT NOT NULL,
        at INTEGER NOT NULL, state TEXT NOT NULL, until INTEGER, session TEXT, decided_at INTEGER NOT NULL,
        cost REAL NOT NULL) WITHOUT ROWID""",
    "CREATE INDEX shown_of_subject ON shown (subject, action_id)",
    "CREATE INDEX shown_reserved ON shown (action_id, until) WHERE state = 'reserved'",
    "CREATE TABLE used (action_id TEXT PRIMARY KEY, people INTEGER NOT NULL, cost REAL NOT NULL) WITHOUT ROWID",
)
# A settled sign-in brings its customer nothing that his history lacks: requests look at the others only.
_SETTLED: Final = (
    "ALTER TABLE links ADD COLUMN settled INTEGER NOT NULL DEFAULT 0",
    "CREATE INDEX links_open ON links (customer_id, visitor_id) WHERE settled = 0 AND customer_id IS NOT NULL",
)
STEPS: Final = (_TABLES, _HELD, _PEOPLE, _STOPS, _SHOWN, _SETTLED)
"""Step n leads from version n to n + 1; a store of an older program takes those that it lacks."""

# --- the live path -------------------------------------------------------------------------------------------------
ADD_EVENT: Final = """
    INSERT INTO events (event_id, customer_id, visitor_id, occurred_at, recorded_at, type, item_id, payload)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (event_id) DO NOTHING"""
EVENT_BY_ID: Final = "SELECT payload FROM events WHERE event_id = ?"
UNSETTLE_LINKS: Final = "UPDATE links SET settled = 0 WHERE visitor_id = ? AND linked_at >= ? AND settled = 1"
ADD_LINK: Final = """
    INSERT INTO links (seq, visitor_id, customer_id, linked_at) SELECT seq, ?, ?, ? FROM events WHERE event_id = ?"""
EVENTS_OF_CUSTOMER: Final = """
    SELECT seq, payload, NULL FROM events WHERE customer_id = ?1 AND seq > ?2
    UNION ALL SELECT NULL, NULL, visitor_id FROM links
        WHERE customer_id = ?1 AND settled = 0 AND EXISTS (
            SELECT 1 FROM events
            WHERE events.visitor_id = links.visitor_id AND events.seq > ?2 AND events.customer_id IS NULL)
        GROUP BY visitor_id"""
"""Both in one statement: taking a snapshot costs more than looking up."""
ALL_EVENTS_OF_CUSTOMER: Final = EVENTS_OF_CUSTOMER.replace(" AND settled = 0", "")
"""By settled links too: for who reads without a history, which has what those bring."""
NEWER_OF_CUSTOMER: Final = """
    SELECT 0 AS kind, change, payload FROM customers WHERE customer_id = ?1 AND change > ?3
    UNION ALL SELECT 1, 0, NULL WHERE EXISTS (SELECT 1 FROM events WHERE customer_id = ?1 AND seq > ?2)
        OR EXISTS (
            SELECT 1 FROM links JOIN events ON events.visitor_id = links.visitor_id
            WHERE links.customer_id = ?1 AND links.settled = 0 AND events.seq > ?2 AND events.customer_id IS NULL)
    UNION ALL SELECT 2, 0, NULL WHERE EXISTS (SELECT 1 FROM orders WHERE customer_id = ?1 AND change > ?4)"""
"""Of events and orders only whether there are any: what is in them is read with consent only."""
NEWS: Final = """
    SELECT * FROM (
        SELECT 0 AS kind, seq, recorded_at, customer_id, visitor_id FROM events
        WHERE seq >= ?1 ORDER BY seq LIMIT ?4) AS events
    UNION ALL SELECT * FROM (
        SELECT 1, change, changed_at, customer_id, NULL FROM customers
        WHERE change >= ?2 ORDER BY change LIMIT ?4) AS fields
    UNION ALL SELECT * FROM (
        SELECT 2, change, changed_at, customer_id, NULL FROM orders
        WHERE change >= ?3 ORDER BY change LIMIT ?4) AS orders"""
"""Whose rows came from some numbers on, in their order; an anonymous event is of everybody whom its visitor became."""
LINKS_AFTER: Final = """
    SELECT linked_at, seq, customer_id FROM links WHERE visitor_id = ?1 AND linked_at = ?2 AND seq > ?3
    UNION ALL SELECT linked_at, seq, customer_id FROM links WHERE visitor_id = ?1 AND linked_at > ?2
    ORDER BY linked_at, seq LIMIT ?4"""
"""In the order of their index, so that no more are read than are wanted."""
NEWER_OF_VISITOR: Final = """
    SELECT 0 AS kind, change, payload FROM visitors WHERE visitor_id = ?1
    UNION ALL SELECT 1, 0, NULL WHERE EXISTS (
            SELECT 1 FROM events WHERE visitor_id = ?1 AND seq > ?2 AND customer_id IS NULL)
        OR EXISTS (SELECT 1 FROM links WHERE visitor_id = ?1)"""
ANONYMOUS_EVENTS: Final = (
    "SELECT seq, payload FROM events WHERE visitor_id = ? AND seq > ? AND customer_id IS NULL ORDER BY seq"
)
VISITORS_OF_CUSTOMER: Final = (
    "SELECT DISTINCT visitor_id FROM links WHERE customer_id = ? AND seq > ? ORDER BY visitor_id"
)
LINKS_OF_VISITOR: Final = "SELECT seq, customer_id, linked_at FROM links WHERE visitor_id = ? AND linked_at >= ?"
LINKS_OF_CLAIMS: Final = """
    SELECT seq, customer_id, linked_at FROM links WHERE visitor_id = ?1 AND linked_at >= (
        SELECT coalesce(max(linked_at), (SELECT min(linked_at) FROM links WHERE visitor_id = ?1 AND seq > ?2))
        FROM links WHERE visitor_id = ?1
            AND linked_at < (SELECT min(linked_at) FROM links WHERE visitor_id = ?1 AND seq > ?2))"""
"""Those after a number, and from the one before them on: where their claims begin."""
LAST_SEQ: Final = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = ?), 0)"

ADD_ITEM: Final = "INSERT INTO items (item_id, payload, changed_at) VALUES (?, ?, ?)"
ITEM_CHANGES: Final = "SELECT change, item_id, payload FROM items WHERE change > ? ORDER BY change"

CUSTOMER_CHANGES: Final = "SELECT payload FROM customers WHERE customer_id = ? AND change > ? ORDER BY change"
ADD_CUSTOMER: Final = "INSERT INTO customers (customer_id, payload, changed_at) VALUES (?, ?, ?)"
VISITOR_CHANGES: Final = "SELECT change, payload, changed_at FROM visitors WHERE visitor_id = ? ORDER BY change"
ADD_VISITOR: Final = "INSERT INTO visitors (visitor_id, payload, changed_at) VALUES (?, ?, ?)"
DROP_VISITOR_CHANGE: Final = "DELETE FROM visitors WHERE change = ?"
ADD_ORDER: Final = "INSERT INTO orders (order_id, line, customer_id, payload, changed_at) VALUES (?, ?, ?, ?, ?)"
REPORTS_OF_LINE: Final = "SELECT customer_id, payload FROM orders WHERE order_id = ? AND line = ?"
ORDERS_OF: Final = "SELECT payload FROM orders WHERE customer_id = ? AND change > ? ORDER BY change"

LAST_TOMBSTONE: Final = "SELECT coalesce(max(number), 0) FROM tombstones"
TOMBSTONES_AFTER: Final = "SELECT token FROM tombstones WHERE number > ? ORDER BY number"
GET_META: Final = "SELECT value FROM meta WHERE name = ?"
SET_META_ONCE: Final = "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING"
SET_META: Final = "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"

# --- decisions -----------------------------------------------------------------------------------------------------
ADD_DECISION: Final = """
    INSERT INTO decisions (decision_id, customer_id, visitor_id, request_id, decided_at, payload)
    VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (decision_id) DO NOTHING"""
ADVANCE_META: Final = """
    INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)"""
DROP_META: Final = "DELETE FROM meta WHERE name = ?"
DROP_META_BELOW: Final = "DELETE FROM meta WHERE name > ? AND name < ? AND value < ?"

HELD_OF: Final = "SELECT family, place, epoch, payload FROM held WHERE subject = ?"
HELD_SINCE: Final = "SELECT family, place, epoch, decided_at FROM held WHERE subject = ?"
HOLD: Final = """
    INSERT INTO held (subject, family, place, epoch, decided_at, ends_at, payload) VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (subject, family, place, epoch) DO UPDATE
    SET decided_at = excluded.decided_at, ends_at = excluded.ends_at, payload = excluded.payload"""
HAND_OVER: Final = """
    INSERT INTO held (subject, family, place, epoch, decided_at, ends_at, payload)
    SELECT ?, family, place, epoch, decided_at, ends_at, payload FROM held
    WHERE subject = ? AND family = ? AND place = ? AND epoch = ?
    ON CONFLICT (subject, family, place, epoch) DO NOTHING"""
LET_GO: Final = "DELETE FROM held WHERE subject = ? AND family = ? AND place = ? AND epoch = ?"
DROP_ENDED: Final = "DELETE FROM held WHERE ends_at <= ?"

# --- stops ---------------------------------------------------------------------------------------------------------
_STOP: Final = "SELECT number, kind, name, because, who, at, lifted_by, lifted_at FROM stops"
STOPS_IN_FORCE: Final = f"{_STOP} WHERE lifted_at IS NULL ORDER BY number"
LATEST_STOPS: Final = f"{_STOP} ORDER BY number DESC LIMIT ?"
STOP_OF: Final = f"{_STOP} WHERE kind = ? AND name = ? AND lifted_at IS NULL"
STOP_BY_NUMBER: Final = f"{_STOP} WHERE number = ?"
ADD_STOP: Final = "INSERT INTO stops (kind, name, because, who, at) VALUES (?, ?, ?, ?, ?)"
LIFT_STOP: Final = "UPDATE stops SET lifted_by = ?, lifted_at = ? WHERE number = ? AND lifted_at IS NULL"

# --- figures -------------------------------------------------------------------------------------------------------
EXPOSURES: Final = """
    SELECT json_extract(CAST(payload AS TEXT), '$.surface', '$.slot', '$.action_id', '$.fallback') AS told, count(*)
    FROM decisions WHERE seq > ? AND decided_at >= ? AND decided_at <= ? GROUP BY told"""
"""All paths in one call: each row is parsed once."""
OUTCOMES: Final = """
    WITH got AS MATERIALIZED (
        SELECT json_extract(CAST(payload AS TEXT), '$.decision_id') AS decision_id, type FROM events
        WHERE type IN ('click', 'purchase') AND recorded_at >= ?2
        UNION SELECT decision_id, reward FROM rewards WHERE reward IN ('click', 'purchase'))
    SELECT json_extract(CAST(payload AS TEXT), '$.surface', '$.slot', '$.action_id') AS told, type, count(*)
    FROM got CROSS JOIN decisions ON decisions.decision_id = got.decision_id
    WHERE seq > ?1 AND decided_at >= ?2 AND decided_at <= ?3 GROUP BY told, type"""
"""`got` has each decision and kind of outcome once, as UNION leaves no row twice; it leads, so that decisions are found
by their index."""
DECIDED_AT: Final = "SELECT decided_at FROM decisions WHERE seq = ?"

# --- what was shown ------------------------------------------------------------------------------------------------
_COUNTED: Final = "state IN ('shown', 'reserved', 'sent')"
SHOWN_OF: Final = """
    SELECT action_id, surface, decision_id, at, state, until, session, decided_at FROM shown
    WHERE subject = ? ORDER BY decided_at, decision_id"""
USED_OF: Final = """
    SELECT coalesce((SELECT people FROM used WHERE action_id = ?1), 0),
        coalesce((SELECT cost FROM used WHERE action_id = ?1), 0.0),
        (SELECT count(*) FROM shown WHERE action_id = ?1 AND state = 'reserved' AND until <= ?2)"""
ADD_SHOWN: Final = """
    INSERT INTO shown (subject, action_id, surface, decision_id, at, state, until, session, decided_at, cost)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
ADD_USED: Final = """
    INSERT INTO used (action_id, people, cost) VALUES (?, ?, ?)
    ON CONFLICT (action_id) DO UPDATE SET people = used.people + excluded.people, cost = used.cost + excluded.cost"""
HAS_SHOWN: Final = (
    f"SELECT EXISTS (SELECT 1 FROM shown WHERE subject = ? AND action_id = ? AND decision_id != ? AND {_COUNTED})"
)
LAPSING: Final = (
    "SELECT subject, decision_id, cost FROM shown WHERE action_id = ? AND state = 'reserved' AND until <= ?"
)
SHOWN_UNDER: Final = "SELECT subject, surface FROM shown WHERE decision_id = ?"
SHOWN_BY_DECISION: Final = "SELECT subject, action_id, state, cost FROM shown WHERE decision_id = ?"
SET_SHOWN: Final = "UPDATE shown SET state = ?, at = coalesce(?, at), until = NULL WHERE decision_id = ?"
SHOWN_SINCE: Final = "SELECT decision_id, action_id, state, decided_at FROM shown WHERE subject = ?"
HAND_OVER_SHOWN: Final = "UPDATE shown SET subject = ? WHERE decision_id = ?"
DROP_SHOWN: Final = "DELETE FROM shown WHERE subject = ?"

# --- erasure -------------------------------------------------------------------------------------------------------
ADD_TOMBSTONE: Final = "INSERT INTO tombstones (token, at) VALUES (?, ?) ON CONFLICT (token) DO NOTHING"
REWARDING_EVENTS_OF_CUSTOMER: Final = "SELECT payload FROM events WHERE customer_id = ?"
REWARDING_ANONYMOUS_EVENTS: Final = "SELECT payload FROM events WHERE visitor_id = ? AND customer_id IS NULL"
ADD_REWARD: Final = "INSERT INTO rewards (decision_id, reward, value, at) VALUES (?, ?, ?, ?)"
DECISIONS_OF_CUSTOMER: Final = "SELECT seq, payload FROM decisions WHERE customer_id = ?"
ANONYMOUS_DECISIONS: Final = "SELECT seq, payload FROM decisions WHERE visitor_id = ? AND customer_id IS NULL"
SCRUB_DECISION: Final = "UPDATE decisions SET customer_id = ?, visitor_id = NULL, payload = ? WHERE seq = ?"
DROP_EVENTS_OF_CUSTOMER: Final = "DELETE FROM events WHERE customer_id = ?"
DROP_ANONYMOUS_EVENTS: Final = "DELETE FROM events WHERE visitor_id = ? AND customer_id IS NULL"
DROP_HELD: Final = "DELETE FROM held WHERE subject = ?"
DROP_CUSTOMER: Final = "DELETE FROM customers WHERE customer_id = ?"
DROP_ORDERS: Final = "DELETE FROM orders WHERE customer_id = ?"
DROP_VISITOR: Final = "DELETE FROM visitors WHERE visitor_id = ?"
DROP_LINKS_OF_CUSTOMER: Final = "DELETE FROM links WHERE customer_id = ?"
ALL_CUSTOMERS: Final = """
    SELECT customer_id FROM events WHERE customer_id IS NOT NULL
    UNION SELECT customer_id FROM decisions WHERE customer_id IS NOT NULL
    UNION SELECT customer_id FROM customers
    UNION SELECT customer_id FROM orders
    UNION SELECT customer_id FROM links WHERE customer_id IS NOT NULL
    UNION SELECT substr(subject, 3) FROM held WHERE subject >= 'c:' AND subject < 'c;'
    UNION SELECT substr(subject, 3) FROM shown WHERE subject >= 'c:' AND subject < 'c;'"""
ALL_ANONYMOUS: Final = """
    SELECT visitor_id FROM events WHERE visitor_id IS NOT NULL AND customer_id IS NULL
    UNION SELECT visitor_id FROM decisions WHERE visitor_id IS NOT NULL AND customer_id IS NULL
    UNION SELECT visitor_id FROM visitors
    UNION SELECT substr(subject, 3) FROM held WHERE subject >= 'v:' AND subject < 'v;'
    UNION SELECT substr(subject, 3) FROM shown WHERE subject >= 'v:' AND subject < 'v;'"""
PUT_RECEIPT: Final = """
    INSERT INTO receipts (receipt_id, kind, token, state, payload, at) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (receipt_id) DO UPDATE SET state = excluded.state, payload = excluded.payload"""
RECEIPT: Final = "SELECT payload FROM receipts WHERE receipt_id = ?"
RECEIPT_OF_SUBJECT: Final = "SELECT payload FROM receipts WHERE token = ? ORDER BY at DESC LIMIT 1"
RECEIPTS_IN_STATE: Final = "SELECT payload, token FROM receipts WHERE state = ? ORDER BY at"

# --- sync ----------------------------------------------------------------------------------------------------------
EVENTS_BETWEEN: Final = "SELECT seq, payload FROM events WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?"
DECISIONS_BETWEEN: Final = "SELECT seq, payload FROM decisions WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?"
LATEST_DECISIONS: Final = "SELECT seq, payload FROM decisions WHERE seq < ? ORDER BY seq DESC LIMIT ?"
LINKS_BETWEEN: Final = (
    "SELECT seq, visitor_id, customer_id, linked_at FROM links"
    " WHERE seq > ? AND seq <= ? AND customer_id IS NOT NULL ORDER BY seq"
)
ITEMS_BETWEEN: Final = (
    "SELECT change, item_id, payload, changed_at FROM items WHERE change > ? AND change <= ? ORDER BY change"
)
CUSTOMERS_BETWEEN: Final = (
    "SELECT change, customer_id, payload, changed_at FROM customers WHERE change > ? AND change <= ? ORDER BY change"
)
ORDERS_BETWEEN: Final = (
    "SELECT change, customer_id, payload FROM orders WHERE change > ? AND change <= ? ORDER BY change LIMIT ?"
)
REWARDS_BETWEEN: Final = (
    "SELECT seq, decision_id, reward, value, at FROM rewards WHERE seq > ? AND seq <= ? ORDER BY seq"
)
DROP_OLD_REWARDS: Final = "DELETE FROM rewards WHERE seq <= ?"
FIRST_EVENT: Final = "SELECT min(seq) FROM events"
FIRST_DECISION: Final = "SELECT min(seq) FROM decisions"
SETTLE_LINKS: Final = """
    UPDATE links SET settled = 1 WHERE seq IN (
        SELECT seq FROM links WHERE customer_id IS NOT NULL AND settled = 0 AND seq <= ?1 AND linked_at < ?2
            AND NOT EXISTS (
                SELECT 1 FROM events
                WHERE events.visitor_id = links.visitor_id AND events.seq > ?1 AND events.customer_id IS NULL
                    AND events.occurred_at <= links.linked_at)
        ORDER BY seq LIMIT ?3)"""
DROP_OLD_EVENTS: Final = "DELETE FROM events WHERE seq >= ? AND seq <= ? AND recorded_at < ?"
DROP_OLD_DECISIONS: Final = "DELETE FROM decisions WHERE seq >= ? AND seq <= ? AND decided_at < ?"
CROWDED: Final = "SELECT {key} FROM {table} WHERE change <= ? GROUP BY {key} HAVING count(*) > 1"
CHANGES_OF: Final = "SELECT change, payload FROM {table} WHERE {key} = ? AND change <= ? ORDER BY change"
MERGE_CHANGES: Final = "UPDATE {table} SET payload = ? WHERE change = ?"
DROP_MERGED: Final = "DELETE FROM {table} WHERE {key} = ? AND change < ?"
MERGED_TABLES: Final = {"items": "item_id", "customers": "customer_id"}
"""Tables of changes whose rows become one by key once they are in the dataset, with their keys."""
DROP_OLD_VISITORS: Final = """
    DELETE FROM visitors WHERE instr(CAST(payload AS TEXT), '"granted":false') = 0 AND visitor_id IN (
        SELECT visitor_id FROM visitors GROUP BY visitor_id HAVING max(changed_at) < ?)"""
"""Refusals stay: whoever comes back has not agreed since."""
DROP_OLD_ORDERS: Final = """
    DELETE FROM orders WHERE change <= ?1 AND changed_at < ?2 AND (
        changed_at < ?3 OR change NOT IN (SELECT max(change) FROM orders GROUP BY order_id, line))"""
LATEST_EVENT: Final = "SELECT seq, recorded_at FROM events ORDER BY seq DESC LIMIT 1"
