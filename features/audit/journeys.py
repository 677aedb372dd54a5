"""Checks of journeys: steps that must follow one another, from the basket to the delivery."""

from __future__ import annotations

from features import columns as c
from features.audit.look import SUBJECT, Look
from features.audit.report import Finding, Verdict
from features.audit.words import count, number, percent, share


def baskets(look: Look) -> Finding:
    """Orders have as many lines as people carry."""
    title = "Basket sizes"
    orders, median, late, most, named = look.row(f"""
        SELECT count(*), median(n), quantile_cont(n, 0.99), max(n), coalesce(sum(n), 0)::BIGINT
        FROM (SELECT count(*) AS n FROM current WHERE {c.TYPE} = 'purchase' AND {c.ORDER_ID} IS NOT NULL
              GROUP BY {c.ORDER_ID})""")
    bought = look.row(f"SELECT count(*) FROM current WHERE {c.TYPE} = 'purchase'")[0]
    figures = {"orders": orders, "median": median, "p99": late, "max": most, "named_share": share(named, bought)}
    if not orders:
        if not bought:
            return Finding("baskets", title, Verdict.OK, "There are no purchases.", figures)
        remedy = "Map the order id: what is bought together cannot be learned without it."
        return Finding("baskets", title, Verdict.NOTE, "No purchase names its order.", figures, remedy)
    sentence = (
        f"{count(orders, 'order')}, the median one with {count(median, 'line')}, the largest with {number(most)}."
    )
    absurd = most > 20 * late
    remedy = (
        "The largest order is far outside the usual: a month's total booked as one, or an id that is not an order's."
    )
    return Finding(
        "baskets", title, Verdict.NOTE if absurd else Verdict.OK, sentence, figures, remedy if absurd else ""
    )


def returns(look: Look) -> Finding:
    """What comes back was bought before."""
    return _without_cause(
        look, "returns", "Returns", effect="return", cause="purchase", noun="return", deed="purchase", tolerated=0.2,
        remedy="Purchases before the first day of the export explain some; if most have none, ids of items or "
        "customers differ between sales and returns.",
    )  # fmt: skip


def wishes(look: Look) -> Finding:
    """What leaves a wishlist was on it."""
    return _without_cause(
        look, "wishes", "Removed wishes", effect="wishlist_remove", cause="wishlist", noun="removed wish",
        deed="wish", tolerated=0.1,
        remedy="Wishes from before the export explain some; otherwise additions are lost on one channel or device.",
    )  # fmt: skip


def _without_cause(
    look: Look, id: str, title: str, *, effect: str, cause: str, noun: str, deed: str, tolerated: float, remedy: str
) -> Finding:
    """Events of one type of a subject and item before which none of another type stands."""
    total, bare = look.row(f"""
        WITH causes AS (SELECT {SUBJECT} AS subject, {c.ITEM_ID} AS item, min({c.OCCURRED_AT}) AS since FROM current
                        WHERE {c.TYPE} = '{cause}' GROUP BY ALL),
        effects AS (SELECT {SUBJECT} AS subject, {c.ITEM_ID} AS item, {c.OCCURRED_AT} AS moment FROM current
                    WHERE {c.TYPE} = '{effect}' AND {SUBJECT} IS NOT NULL AND {c.ITEM_ID} IS NOT NULL)
        SELECT count(*), count(*) FILTER (since IS NULL OR since > moment)
        FROM effects LEFT JOIN causes USING (subject, item)""")
    part = share(bare, total)
    figures = {"events": total, "without": bare, "without_share": part}
    many = f"{noun}es" if noun.endswith("sh") else f"{noun}s"
    if not total:
        return Finding(id, title, Verdict.OK, f"There are no {many}.", figures)
    if not bare:
        return Finding(id, title, Verdict.OK, f"Every {noun} follows a {deed} of the same item.", figures)
    sentence = f"{percent(bare, total)} of {count(total, noun, many)} follow no {deed} of the same item."
    verdict = Verdict.WARNING if part > tolerated else Verdict.NOTE
    return Finding(id, title, verdict, sentence, figures, remedy)


def orders(look: Look) -> Finding:
    """Orders are placed, promised and delivered in this order."""
    title = "Orders"
    lines, late, backwards, strangers = look.row(f"""
        SELECT count(DISTINCT ({c.ORDER_ID}, {c.LINE})),
               count(DISTINCT ({c.ORDER_ID}, {c.LINE})) FILTER
                   (shipment_state IN ('shipped', 'delivered', 'returned') AND {c.VALID_FROM} < ordered_at),
               count(DISTINCT ({c.ORDER_ID}, {c.LINE})) FILTER (promised_at < ordered_at),
               (SELECT count(*) FROM (SELECT {c.ORDER_ID} FROM orders WHERE {c.CUSTOMER_ID} IS NOT NULL
                GROUP BY {c.ORDER_ID} HAVING count(DISTINCT {c.CUSTOMER_ID}) > 1))
        FROM orders""")
    figures = {
        "lines": lines, "delivered_before_ordered": late, "promised_before_ordered": backwards,
        "of_several_customers": strangers,
    }  # fmt: skip
    if not lines:
        return Finding("orders", title, Verdict.OK, "There is no orders table.", figures)
    told = []
    if late:
        told.append(f"{count(late, 'line')} shipped or delivered before they were ordered")
    if backwards:
        told.append(f"{count(backwards, 'line')} promised for before they were ordered")
    if strangers:
        told.append(f"{count(strangers, 'order')} of several customers")
    if not told:
        sentence = f"{count(lines, 'order line')}, each ordered before it was delivered."
        return Finding("orders", title, Verdict.OK, sentence, figures)
    remedy = "Dates without time or in another zone, or order ids used twice: the page would tell customers nonsense."
    verdict = Verdict.FAILED if share(late + backwards, lines) > 0.01 else Verdict.WARNING
    return Finding("orders", title, verdict, f"{'; '.join(told)}.".capitalize(), figures, remedy)


def propensities(look: Look) -> Finding:
    """Probabilities of decisions are probabilities."""
    title = "Propensities"
    total, outside, broken, unequal, absent, odd, unlogged, untold = look.row(f"""
        WITH parsed AS (
            SELECT *, CASE WHEN json_valid(eligible) THEN json_extract(eligible, '$[*][1]')::DOUBLE[] END AS chances,
                   CASE WHEN json_valid(eligible) THEN json_extract_string(eligible, '$[*][0]') END AS actions
            FROM decisions),
        placed AS (
            SELECT *, CASE WHEN {c.ACTION_ID} IS NULL
                           THEN list_position(list_transform(actions, lambda action: action IS NULL), true)
                           ELSE list_position(actions, {c.ACTION_ID}) END AS place FROM parsed),
        judged AS (
            SELECT *, isnan(action_propensity) AND place IS NOT NULL AND chances[place] IS NULL AS untold FROM placed)
        SELECT count(*),
               count(*) FILTER (NOT coalesce(untold, false) AND NOT (action_propensity > 0 AND action_propensity <= 1)),
               count(*) FILTER (chances IS NULL OR len(chances) = 0),
               count(*) FILTER ((list_count(chances) = len(chances) AND abs(list_sum(chances) - 1) > 1e-6)
                                OR list_sum(chances) > 1 + 1e-6 OR list_min(chances) < 0),
               count(*) FILTER (drawn AND chances IS NOT NULL AND place IS NULL),
               count(*) FILTER (drawn AND abs(chances[place] - action_propensity) > 1e-6),
               count(*) FILTER (NOT logged), count(*) FILTER (untold)
        FROM judged""")
    figures = {
        "decisions": total, "outside": outside, "unreadable": broken, "not_summing_to_one": unequal,
        "not_eligible": absent, "other_than_listed": odd, "unlogged_share": share(unlogged, total), "untold": untold,
    }  # fmt: skip
    if not total:
        return Finding("propensities", title, Verdict.OK, "There are no decisions yet.", figures)
    words = {
        "outside": "propensities outside (0, 1]", "unreadable": "lists of eligible actions that cannot be read",
        "not_summing_to_one": "lists of probabilities that do not sum to 1",
        "not_eligible": "actions that were drawn but not eligible",
        "other_than_listed": "propensities other than the listed probability",
    }  # fmt: skip
    told = [f"{number(int(figures[name]))} {what}" for name, what in words.items() if figures[name]]
    if not told:
        sentence = f"{count(total, 'decision')}, every probability in (0, 1] and every list summing to 1."
        if untold:
            sentence += f" Of {number(untold)} nobody drew the action: their probabilities are not recorded."
        return Finding("propensities", title, Verdict.OK, sentence, figures)
    remedy = "No policy can be valued from these rows: mend the code that draws, and leave the rows out until then."
    return Finding("propensities", title, Verdict.FAILED, f"{'; '.join(told)}.", figures, remedy)
