"""Checks of money and amounts: prices that cannot be right, currencies that change on the way."""

from __future__ import annotations

from features import columns as c
from features.audit.look import Look
from features.audit.report import Finding, Table, Verdict
from features.audit.words import count, number, percent, share

FAR = 20
"""A price so many times above or below the item's median is an outlier."""
JUMP = 3.0
"""When the same items cost so many times more (or less) than the month before, the currency or tax changed."""
ITEMS_COMPARED = 20


def prices(look: Look) -> Finding:
    """Prices are there, positive, and near the item's usual price."""
    title = "Prices"
    bought, none, zero, negative = look.row(f"""
        SELECT count(*), count(*) FILTER ({c.UNIT_PRICE} IS NULL), count(*) FILTER ({c.UNIT_PRICE} = 0),
               count(*) FILTER ({c.UNIT_PRICE} < 0 OR isnan({c.UNIT_PRICE}) OR isinf({c.UNIT_PRICE}))
        FROM current WHERE {c.TYPE} = 'purchase'""")
    if not bought:
        return Finding("prices", title, Verdict.OK, "There are no purchases.", {"purchases": 0})
    compared, far = look.row(f"""
        WITH priced AS (SELECT {c.ITEM_ID}, {c.UNIT_PRICE} AS price FROM current
                        WHERE {c.TYPE} = 'purchase' AND {c.UNIT_PRICE} > 0 AND {c.ITEM_ID} IS NOT NULL),
        usual AS (SELECT {c.ITEM_ID}, median(price) AS usual FROM priced GROUP BY {c.ITEM_ID} HAVING count(*) >= 5)
        SELECT count(*), count(*) FILTER (price > {FAR} * usual OR price < usual / {FAR})
        FROM priced JOIN usual USING ({c.ITEM_ID})""")
    figures = {
        "purchases": bought, "without_price_share": share(none, bought), "zero_share": share(zero, bought),
        "negative": negative, "outliers": far, "outlier_share": share(far, compared),
    }  # fmt: skip
    told = [
        f"{percent(n, bought)} {words}" for n, words in ((none, "have no price"), (zero, "are free")) if n
    ]  # fmt: skip
    if far:
        told.append(f"{count(far, 'price')} more than {FAR} times above or below the item's usual price")
    if negative:
        told.append(f"{count(negative, 'price')} negative or not a number")
    sentence = f"Of {count(bought, 'purchase')} " + ("; ".join(told) if told else "all have a plausible price") + "."
    bad = share(none + zero, bought) > 0.1 or share(far, compared) > 0.001
    verdict = Verdict.FAILED if negative else Verdict.WARNING if bad else Verdict.NOTE if told else Verdict.OK
    remedy = (
        "Revenue and values count these as they stand. Samples, postage and fees are better left out by the mapping."
    )
    return Finding("prices", title, verdict, sentence, figures, remedy if told else "")


def currency(look: Look) -> Finding:
    """The same items cost about the same from one month to the next."""
    title = "Price level by month"
    rows = look.rows(f"""
        WITH monthly AS (SELECT {c.ITEM_ID} AS item, date_trunc('month', {c.OCCURRED_AT})::DATE AS month,
                                avg({c.UNIT_PRICE}) AS price
                         FROM current WHERE {c.TYPE} = 'purchase' AND {c.UNIT_PRICE} > 0 AND {c.ITEM_ID} IS NOT NULL
                         GROUP BY ALL),
        pairs AS (SELECT month, price / lag(price) OVER (PARTITION BY item ORDER BY month) AS ratio FROM monthly)
        SELECT strftime(month, '%Y-%m'), median(ratio), count(ratio) FROM pairs
        GROUP BY month HAVING count(ratio) >= {ITEMS_COMPARED} ORDER BY month""")
    jumps = [(month, ratio) for month, ratio, _ in rows if not 1 / JUMP < ratio < JUMP]
    figures = {"months": len(rows), "jumps": len(jumps)}
    if not jumps:
        sentence = "Prices of the same items stay on one level." if rows else "Too few prices to compare months."
        return Finding("currency", title, Verdict.OK, sentence, figures)
    month, ratio = jumps[0]
    sentence = f"From {month} on the same items cost {number(round(ratio, 3))} times as much as before."
    remedy = "Currency, tax or unit (cents, sets) changed inside the export: bring amounts to one before the import."
    table = Table(("month", "times the month before"), [(at, round(times, 3)) for at, times in jumps])
    return Finding("currency", title, Verdict.FAILED, sentence, figures, remedy, table)


def quantities(look: Look) -> Finding:
    """People buy at least some and not absurdly many."""
    title = "Quantities"
    bought, none, middle, most, odd = look.row(f"""
        SELECT count(*), count(*) FILTER ({c.QUANTITY} <= 0), quantile_cont({c.QUANTITY}, 0.5), max({c.QUANTITY}),
               count(*) FILTER ({c.QUANTITY} > 10000) FROM current WHERE {c.TYPE} = 'purchase'""")
    figures = {"not_positive": none, "median": middle, "max": most, "over_10000": odd}
    if middle is None:
        return Finding("quantities", title, Verdict.OK, "No purchase has a quantity: each counts as one.", figures)
    if not none and not odd:
        sentence = (
            f"The usual line has {number(middle)}, the largest {number(most)}." if middle is not None else "None."
        )
        return Finding("quantities", title, Verdict.OK, sentence, figures)
    told = []
    if none:
        told.append(f"{count(none, 'purchase')} ({percent(none, bought)}) of zero or less")
    if odd:
        told.append(f"{count(odd, 'purchase')} of more than 10,000 pieces")
    verdict = Verdict.WARNING if share(none, bought) > 0.01 else Verdict.NOTE
    remedy = "Zero and negative lines are corrections: map them to returns. Huge ones are weights or typing errors."
    return Finding("quantities", title, verdict, f"{' and '.join(told)}.", figures, remedy)
