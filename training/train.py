"""The training run: from a shop's dataset to a registered, judged and (where it may) promoted bundle.

`train` is the whole flow; its steps are the functions below it, in their order (the last is in `training.conclusion`).
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import msgspec
import numpy as np

from features.errors import DataError, GateRefusalError
from features.moments import format_instant
from features.shop import Shop
from serving.bundle import Bundle
from serving.ranker import Ranker
from serving.recipe import Recipe, as_json
from training import journal, sanity
from training.conclusion import Outcome, conclude
from training.contest import Arena, breadths_of, contest_of, sampled
from training.fitting import fit_bundle
from training.gate import TASKS, Entrant, Verdict, decide, refreshed
from training.intent import weighed_in
from training.journal import Judged
from training.material import Material, load_material
from training.meter import Tell
from training.page_tables import tables_of
from training.publish import manifest_of, promote, publish, register_refused
from training.recipes import BASELINES, SESSION, complete, is_leaner, menu, plain_only
from training.selection import Choice, choose, unchosen, with_rankers, with_variety
from training.session import (
    Champion,
    Session,
    TrainOptions,
    active_customers,
    bundle_of,
    cut_at,
    fit_each,
    fit_rankers,
    open_session,
    rankers_of,
    serving_now,
    silent,
)
from training.split import truth_of
from training.tracking import Value, Version
from training.unfinished import Unfinished
from training.variety import only_more_varied

TUNED_CUSTOMERS = {"quick": 600, "full": 4000}
"""Customers of the earlier window that weights are chosen on, at most."""
JUDGED_CUSTOMERS = 20_000
"""Customers of the judged window that are judged, at most; always the same ones."""


@dataclass(frozen=True)
class Candidate:
    """What may be published: a bundle fitted on everything, the entrant that was judged for it, its verdict."""

    bundle: Bundle
    judged: Recipe
    verdict: Verdict


def train(shop: Shop, options: TrainOptions | None = None, tell: Tell = silent) -> Outcome:
    """Train, judge, publish and promote.

    Args:
        shop: whose.
        options: what to train.
        tell: hears the progress of each step.

    Raises:
        DataError: there is no dataset, or nothing was known at that moment.
        GateRefusalError: the refitted winner does not answer like the one that was judged.
    """
    with open_session(shop, options or TrainOptions(), tell) as session:
        material = read(session)
        choice = tune(session, material)
        champion = serving_now(session, choice)
        judged = judge(session, material, choice, champion)
        verdict = ask_gate(session, judged, choice, champion)
        candidate = refit(session, material, judged, choice, champion, verdict)
        check(session, judged, candidate)
        version = release(session, candidate)
        promoted = serve(session, material, champion, version)
        return conclude(session, material, judged, choice, verdict, version, promoted)


def read(session: Session) -> Material:
    """Histories as of the moment, and hashes of all that went into them."""
    session.tell("read the dataset", 0, 1)
    with session.meter.step("read"):
        material = load_material(session.shop, session.config, session.options.as_of)
    session.tell("read the dataset", 1, 1)
    session.note(*material.notes)
    options = session.options
    said: dict[str, Value] = {
        "as_of": format_instant(material.as_of), "preset": options.preset, "promote": options.promote,
    }  # fmt: skip
    journal.log_setup(session.run, session.config, material, said)
    session.unfinished = Unfinished(session.shop.unfinished, material.data_hash)
    return material


def tune(session: Session, material: Material) -> Choice:
    """Fit up to the earlier window; choose on it weights of blends, the order of recipes, the variety of the first."""
    window, preset = material.tuned, session.options.preset
    cut = cut_at(session, material, window.start if window else material.as_of)
    listed = menu(
        session.config.model, preset=preset, customers=active_customers(cut), items=int(cut.listed.sum()),
        texts=cut.texts is not None, time_zone=session.config.shop.time_zone, tuned=session.tuned,
    )  # fmt: skip
    if window is None:
        return unchosen(plain_only(listed))
    for name, why in fit_each(session, cut, listed.sources, "earlier window").items():
        listed = listed.without(name, why)
    session.note(*listed.notes)
    truth = sampled(truth_of(material.histories, window, listed=cut.listed), TUNED_CUSTOMERS[preset])
    arena = Arena(bundle_of(cut, listed.sources), material.histories, window, truth, material.regions)
    cut.rest()
    metric = session.config.gate.metric
    with session.meter.step("choose weights"):
        progress = session.counted("choose weights (earlier window)", 2 * len(truth))
        choice = choose(listed, arena, metric, progress)
    with session.meter.step("choose a ranker"):
        progress = session.counted("choose a ranker (earlier window)", 2 * len(truth))
        choice, notes = with_rankers(choice, arena, rankers_of(session, material), session.config.gate, progress)
    session.note(*notes)
    with session.meter.step("choose a trade-off"):
        progress = session.counted("choose a trade-off (earlier window)", 4 * len(truth))
        choice = with_variety(choice, arena, rankers_of(session, material), session.config.gate, progress)
    with session.meter.step("weigh the session"):
        return weighed_in(session, material, choice, arena)


def judge(session: Session, material: Material, choice: Choice, champion: Champion | None) -> Judged:
    """Fit everything up to the last window; judge all recipes and the champion's on it."""
    recipes = {recipe.name: recipe for recipe in choice.recipes}
    if champion is not None:
        recipes[champion.entrant] = champion.contestant
    window = material.judged
    if window is None:
        nothing = np.empty(0)
        unjudged = [Entrant(name, {"all": nothing, "new": nothing}, name in BASELINES) for name in recipes]
        return Judged(None, {}, recipes, unjudged)
    cut = cut_at(session, material, window.start)
    wanted = {spec.name: spec for recipe in recipes.values() for spec in recipe.sources}
    failed = fit_each(session, cut, list(wanted.values()), "judged window")
    session.note(*(f"{name} is left out: {why}." for name, why in failed.items()))
    recipes = {name: each for name, each in recipes.items() if not any(s.name in failed for s in each.sources)}
    truth = sampled(truth_of(material.histories, window, listed=cut.listed), JUDGED_CUSTOMERS)
    rankers, recipes = fit_rankers(session, material, recipes, window.start)
    bundle = bundle_of(cut, [spec for name, spec in wanted.items() if name not in failed], rankers)
    arena = Arena(bundle, material.histories, window, truth, material.regions)
    cut.rest()
    with session.meter.step("judge"):
        progress = session.counted("judge (last window)", 2 * len(truth) * len(breadths_of(recipes)))
        found = contest_of(arena, recipes, progress)
    metric = session.config.gate.metric
    entrants = [
        Entrant(name, {task: found[name].tasks[task].by_customer[metric] for task in TASKS}, name in BASELINES)
        for name in recipes
    ]
    return Judged(arena, found, recipes, entrants)


def ask_gate(session: Session, judged: Judged, choice: Choice, champion: Champion | None) -> Verdict:
    """The verdict on the first of the ranking; a refused challenger is registered with it."""
    serving = champion.entrant if champion and champion.entrant in judged.recipes else None
    if champion and not serving:
        session.note(f"The champion {champion.recipe.name} can no longer be fitted and is not judged.")
    verdict = decide(
        judged.entrants, ranking=[name for name in choice.ranking if name in judged.recipes], champion=serving,
        champion_bundle=champion.version.bundle_id if champion else None, settings=session.config.gate,
        alike=_alike(choice, judged, serving),
    )  # fmt: skip
    if not verdict.accepted and verdict.challenger != verdict.champion:
        recipe = judged.recipes[verdict.challenger]
        register_refused(session.tracking, session.run, recipe, verdict, verdict.figures(verdict.challenger))
    return verdict


def _alike(choice: Choice, judged: Judged, serving: str | None) -> dict[str, str]:
    """Entrants that are the champion and nothing else, with what."""
    if serving is None:
        return {}
    champion = judged.recipes[serving]
    spared = {name for name, loss in choice.losses.items() if loss.bearable}
    leaner = {name: "fewer voices" for name, recipe in judged.recipes.items() if is_leaner(recipe, champion, spared)}
    varied = only_more_varied(choice.variety, judged.recipes, serving)
    return leaner | ({varied: "more varied lists"} if varied else {})


def refit(
    session: Session, material: Material, judged: Judged, choice: Choice, champion: Champion | None, verdict: Verdict
) -> Candidate | None:
    """The winner fitted on everything; None when that is what serves already."""
    if verdict.accepted or champion is None:
        recipe = complete(judged.recipes[verdict.winner], choice.sources, choice.feeders)
    else:
        recipe, verdict = served_on(champion, choice), refreshed(verdict)
        if manifest_of(session.tracking, champion.version).get("data_hash") == material.data_hash:
            return None
    cut = cut_at(session, material, material.as_of)
    failed = fit_each(session, cut, recipe.sources, "everything")
    session.note(*(f"{name} is left out of pages: {why}." for name, why in failed.items()))
    recipe = msgspec.structs.replace(recipe, sources=tuple(s for s in recipe.sources if s.name not in failed))
    rankers, kept = fit_rankers(session, material, {verdict.winner: recipe}, material.as_of)
    if not kept:
        raise DataError("the ranker that was judged cannot be fitted on everything", where=recipe.name)
    bundle = fit_bundle(
        cut, recipe, rankers=rankers, data_hash=material.data_hash, metrics=verdict.figures(verdict.winner),
        created_at=format_instant(time.time_ns() // 1_000_000_000 * 1_000_000),
        tables=tables_of(session, material, cut),
    )  # fmt: skip
    return Candidate(bundle, judged.recipes[verdict.winner], verdict)


def served_on(champion: Champion, choice: Choice) -> Recipe:
    """The champion's recipe. Where it is the first of today's too, the session counts what it was given today.

    That changes nothing of what the gate judges: nobody is in a session when a window starts.
    """
    if champion.entrant != choice.ranking[0]:
        return champion.recipe
    recipe = complete(champion.recipe, choice.sources, (SESSION,))
    return msgspec.structs.replace(recipe, session_weight=champion.contestant.session_weight)


def check(session: Session, judged: Judged, candidate: Candidate | None) -> None:
    """Ask the refitted bundle and the judged one the same questions.

    Raises:
        GateRefusalError: the answers are of another kind; nothing is published.
    """
    if candidate is None or judged.arena is None or not len(judged.arena.truth):
        return
    arena, bundle = judged.arena, candidate.bundle
    before = Bundle({**arena.bundle.manifest, "recipe": as_json(candidate.judged)}, arena.bundle.arrays)
    known = arena.histories.as_of(arena.window.start)
    subjects = sampled(arena.truth, sanity.ASKED).subjects.tolist()
    session.tell("sanity checks", 0, 1)
    with session.meter.step("sanity checks"):
        mine, theirs = (sanity.ask(Ranker(each), known, subjects, arena.window.start) for each in (bundle, before))
    session.tell("sanity checks", 1, 1)
    found = sanity.figures(mine, theirs)
    session.run.log_metrics({f"sanity/{name}": value for name, value in found.items()})
    wrong = sanity.problems(found, expect_full=int(bundle.catalogue.sum()) >= mine.items.shape[1])
    if wrong:
        hint = "nothing was published; what serves goes on serving"
        raise GateRefusalError(f"the refitted model is not sane: {'; '.join(wrong)}", where=bundle.id, hint=hint)


def release(session: Session, candidate: Candidate | None) -> Version | None:
    """Write and register the bundle; None when there is nothing new."""
    if session.unfinished is not None:
        session.unfinished.done()  # everything is fitted, and the bundle needs room
    if candidate is None:
        return None
    verdict = candidate.verdict
    with session.meter.step("publish"):
        figures = verdict.figures(verdict.winner)
        return publish(session.tracking, session.run, candidate.bundle, verdict, figures)


def serve(session: Session, material: Material, champion: Champion | None, version: Version | None) -> bool:
    """Promote, unless told not to or what serves knows more; says whether it serves now."""
    if version is None or not session.options.promote:
        return False
    if champion and int(manifest_of(session.tracking, champion.version).get("as_of", 0)) > material.as_of:
        session.note(
            f"Version {version.number} was not promoted: version {champion.version.number}, which serves, has seen "
            f"events after {format_instant(material.as_of)}."
        )
        return False
    promote(session.shop, version.number, session.tracking)
    return True
