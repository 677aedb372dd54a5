"""Standing experiments: which arm a subject stands in, and what the arm changes on a page.

[experiments.hero]
page = "home"
[experiments.hero.arms.control]
share = 0.5
[experiments.hero.arms.learned]
share = 0.5
slots.first = {policy = "hero-2"}

The arm is a hash of shop, experiment and subject: the same at every visit and on every worker, and of one experiment
it says nothing about another. The permanent holdout stands in none. A decision of a slot that any arm changes logs the
subject's arm as `<experiment>/<arm>`, whether or not that arm changes it. Once an experiment runs, its shares stay:
whoever wants others gives the experiment a new name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import accumulate
from typing import TYPE_CHECKING, Annotated

import msgspec

from features.errors import ConfigError
from features.shop import Shop
from features.text import unit_hash
from serving.strict import Strict, nearest

if TYPE_CHECKING:
    from serving.config import ShopConfig
    from serving.settings.pages import Page, Slot

PLAIN = "first-fillable"
"""As the policy of a slot in an arm: no learned one, the first module that can be filled."""
ROUNDING = 1e-9
"""How far shares may sum from 1: three thirds do not sum to it in floating point."""
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


class SlotChange(Strict, frozen=True):
    """What an arm changes of a slot; what it does not name stays as the page has it.

    Args:
        policy: the learned policy that decides it, or `first-fillable` for none.
        modules: what may take it.
    """

    policy: str | None = None
    modules: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)] | None = None


class Arm(Strict, frozen=True):
    """`[experiments.<name>.arms.<arm>]`: a share of the subjects, and what is different for them.

    Args:
        share: of all subjects outside of the permanent holdout.
        slots: of the experiment's page, by name. The arm that changes none is the control.
    """

    share: Annotated[float, msgspec.Meta(gt=0, le=1)]
    slots: dict[str, SlotChange] = msgspec.field(default_factory=dict)


class Experiment(Strict, frozen=True):
    """`[experiments.<name>]`: arms of one page. Whoever falls into no share stands outside.

    Args:
        arms: by name; exactly one is the control.
        page: whose slots they change.
    """

    arms: dict[str, Arm]
    page: str = "home"

    @property
    def control(self) -> str:
        """The arm that changes nothing."""
        return next(name for name, arm in self.arms.items() if not arm.slots)

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of the slots that any arm changes."""
        return tuple(sorted({slot for arm in self.arms.values() for slot in arm.slots}))


def arm_of(shop: Shop, name: str, experiment: Experiment, unit: tuple[str, str]) -> str | None:
    """The arm of a subject; None where it stands outside.

    Args:
        shop: whose secret salts the hash.
        name: of the experiment.
        experiment: its arms; their order in the file does not matter.
        unit: `serving.decide.unit_of`, the kind of subject and its id.
    """
    arms = sorted(experiment.arms)
    ends = list(accumulate(experiment.arms[arm].share for arm in arms))
    if ends[-1] > 1 - ROUNDING:
        ends[-1] = 1.0  # nobody stands outside by a rounding error
    u = unit_hash("experiment", shop.id, shop.secret.hex(), name, *unit)
    return next((arm for arm, end in zip(arms, ends, strict=True) if u < end), None)


def label(experiment: str, arm: str) -> str:
    """As the decisions' column `arm` has it."""
    return f"{experiment}/{arm}"


def arranged(
    shop: Shop, experiments: Mapping[str, Experiment], page: str, layout: Page, unit: tuple[str, str] | None
) -> tuple[Page, dict[str, str]]:
    """A page as a subject's arms have it, and the label of the arm for each slot that an experiment is about.

    Args:
        shop, experiments: of `shop.toml`.
        page: its name.
        layout: as everybody outside of experiments gets it.
        unit: who asks; None for the permanent holdout and for requests that name nobody.
    """
    labels: dict[str, str] = {}
    changes: dict[str, SlotChange] = {}
    for name, experiment in experiments.items():
        arm = arm_of(shop, name, experiment, unit) if unit is not None and experiment.page == page else None
        if arm is not None:
            labels |= dict.fromkeys(experiment.slots, label(name, arm))
            changes |= experiment.arms[arm].slots
    if not changes:
        return layout, labels
    slots = tuple(changed(slot, changes[slot.name]) if slot.name in changes else slot for slot in layout.slots)
    return msgspec.structs.replace(layout, slots=slots), labels


def changed(slot: Slot, change: SlotChange) -> Slot:
    """A slot as an arm has it."""
    policy = slot.policy if change.policy is None else None if change.policy == PLAIN else change.policy
    modules = slot.modules if change.modules is None else change.modules
    return msgspec.structs.replace(slot, policy=policy, modules=modules)


def check_experiments(config: ShopConfig, where: str) -> None:
    """Refuse experiments that cannot be run or could not be read off the log.

    Raises:
        ConfigError: a name that is none, shares beyond 1, one arm only, no control or several, a page, slot or module
            that is not there (with the nearest), or a slot that two experiments change.
    """
    owner: dict[tuple[str, str], str] = {}
    for name, experiment in config.experiments.items():
        here = f"{where} [experiments.{name}]"
        _check_arms(name, experiment, here)
        if experiment.page not in config.pages:
            hint = nearest(experiment.page, list(config.pages))
            raise ConfigError("no such page", where=here, got=experiment.page, hint=hint)
        for arm, each in experiment.arms.items():
            _check_slots(config, experiment.page, each, f"{where} [experiments.{name}.arms.{arm}]")
        for slot in experiment.slots:
            other = owner.setdefault((experiment.page, slot), name)
            if other != name:
                hint = "a slot belongs to one experiment at a time: end one, or give it the arms of both"
                raise ConfigError(f"slot {slot} belongs to experiment {other}", where=here, hint=hint)


def _check_arms(name: str, experiment: Experiment, here: str) -> None:
    for each in (name, *experiment.arms):
        if not _NAME.fullmatch(each):
            hint = "use lower-case letters, digits and dashes"
            raise ConfigError("not a name of an experiment or arm", where=here, got=each, hint=hint)
    if len(experiment.arms) < 2:
        raise ConfigError("an experiment has two arms or more", where=here, got=list(experiment.arms))
    total = sum(arm.share for arm in experiment.arms.values())
    if total > 1 + ROUNDING:
        raise ConfigError("the shares of the arms sum to more than 1", where=here, got=round(total, 6))
    plain = [arm for arm, each in experiment.arms.items() if not each.slots]
    if len(plain) != 1:
        hint = "exactly one arm changes no slot: it is what the others are compared with"
        raise ConfigError("no control" if not plain else "several controls", where=here, got=plain or None, hint=hint)


def _check_slots(config: ShopConfig, page: str, arm: Arm, here: str) -> None:
    known = [slot.name for slot in config.pages[page].slots]
    for slot, change in arm.slots.items():
        if slot not in known:
            raise ConfigError("no such slot", where=here, got=slot, hint=nearest(slot, known))
        if change.policy is None and change.modules is None:
            raise ConfigError("a slot that nothing changes", where=here, got=slot, hint="name a policy or modules")
        for module in change.modules or ():
            if module not in config.modules:
                hint = nearest(module, list(config.modules))
                raise ConfigError("no such module", where=here, got=module, hint=hint)
