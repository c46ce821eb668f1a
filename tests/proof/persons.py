"""A person at work: another policy for what a hand does, answers to the differences that wait for one, and
the words that stop and start the bot.

Only some stories have one, with a die of its own. Half of these persons answer in the end whatever is asked;
then nothing may be asked any more, and nothing that they left alone before excuses anything. Nobody turns a
short round there: against whose contracts later orders trade is not told apart well enough to be answered.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Final

from fundarb.core.market import Category
from fundarb.core.risk import RiskLimits
from fundarb.engine.commands import Arguments
from fundarb.engine.compare import Choice, Mismatch
from fundarb.engine.control import Control
from fundarb.engine.desk import TradeRules
from fundarb.engine.halt_file import HaltFile
from fundarb.engine.reconcile import ReconcileResult
from tests.proof.market import BASES, PERPS

if TYPE_CHECKING:
    from tests.proof.episode import Episode

_POLICIES: Final = ("ask", "rehedge", "ask", "unwind")
_WORDS: Final = (*3 * ("resume",), *3 * ("resume a coin",), "halt", "flatten", "flatten a coin")
_SURE: Final = 0.7
"""How often it is answered by more than leaving it, where that is offered."""
_SMALL: Final = 100
"""Quote value of what a hand may add to nothing, and of dust."""
_ROUNDS: Final = 8
"""So often calm answers may raise another question, of another coin or leg."""
_MOST: Final = "10000000000"
"""More than any position has of anything: a hand trades all of it at once, at market."""


def attended(seed: int) -> bool:
    """Whether a story has a person."""
    return seed % 11 == 8


def rules_of(seed: int, limits: RiskLimits) -> TradeRules:
    """What a story trades by: half of those with a person ask, the others restore or reduce by themselves."""
    policy = _POLICIES[seed // 11 % len(_POLICIES)] if attended(seed) else "ask"
    return TradeRules(limits=limits, repair=policy != "ask", manual_close=policy)


class Person:
    """Somebody who answers and gives orders; ``hands``: somebody acts in the middle of walks, too, and
    ``thorough``: nothing is left unanswered in the end.
    """

    def __init__(self, episode: Episode) -> None:
        """Of one story; nobody in most of them."""
        self._episode, self._die = episode, Random(f"a person of {episode.seed}")
        self._there = attended(episode.seed)
        self.hands = self._there and self._die.random() < 0.5
        self.thorough = self._there and self._die.random() < 0.5
        episode.meddler.mixing = not self._there
        for base in BASES if self._there else ():
            change = episode.venue.world.filters
            change(Category.SPOT, f"{base}USDT", fields={"maxMarketOrderQty": _MOST})
            change(Category.LINEAR, PERPS[base], fields={"maxMktOrderQty": _MOST})

    @property
    def acts(self) -> tuple[Callable[[], None], ...]:
        """What is thrown among the acts of a story."""
        return (*3 * (self.trade,), *3 * (self.answer,), self.speak) if self._there else ()

    def trade(self) -> None:
        """Trade at the venue itself what the bot holds; give it something to hold where there is nothing."""
        if held := self._held():
            self._episode.meddler.act(self._die.choice(held), by_hand=True)
            self._episode.clock.sleep(timedelta(seconds=1))
        else:
            notional = self._die.choice(("700", "3300"))
            self._give("open", {"base": self._die.choice(BASES), "notional": notional})

    def answer(self) -> None:
        """Look, and answer one of the differences by a way that is offered, seldom by leaving it."""
        asked = [(item, choice) for item in self._differences() for choice in self._fitting(item)]
        more = [one for one in asked if one[1] is not Choice.IGNORE]
        if asked:
            item, choice = self._die.choice(more if more and self._die.random() < _SURE else asked)
            self._give("resolve", {"id": item.id, "answer": choice.value})

    def speak(self) -> None:
        """Stop it, start it again, or have things closed."""
        held, (name, _, of_one) = self._held(), self._die.choice(_WORDS).partition(" ")
        key = "base" if name == "resume" else "name"
        self._give(name, {key: self._die.choice(held)} if of_one and held else {})

    def settle(self) -> None:
        """In calm whoever is thorough answers everything that can be answered by more than leaving it."""
        for _ in range(_ROUNDS if self.thorough else 0):
            asked = [item for item in self._differences() if asks(item)]
            if not asked:
                return
            first = min(asked, key=lambda item: item.kind == "unhedged")  # which may follow from another one
            self._give("resolve", {"id": first.id, "answer": self._die.choice(asks(first)).value})
            self._episode.clock.sleep(timedelta(minutes=1))

    def unsettled(self, result: ReconcileResult) -> list[str]:
        """What a thorough person is asked all the same, and what is naked and nobody says so."""
        if not self.thorough:
            return []
        shown, balance = (*result.mismatches, *result.ignored), self._episode.balance
        told = {name for item in shown for name in (item.base, item.symbol)}
        silent = {base for base in BASES if not {base, PERPS[base]} & told} - balance.mingled
        naked = {base: value for base in sorted(silent) if abs(value := balance.naked(base)) > _SMALL}
        return [
            *(f"{item.id} ({item.expected} against {item.found}) still asks" for item in shown if asks(item)),
            *(f"{value:.2f} USDT of {base} are naked, and nothing is asked" for base, value in naked.items()),
        ]

    def _held(self) -> list[str]:
        """The coins of the bot."""
        return sorted(item.base for item in self._episode.life.store.positions.active())

    def _differences(self) -> tuple[Mismatch, ...]:
        """What ``reconcile`` shows now, with what was left alone; nothing where it fails."""
        found: list[Mismatch] = []

        def look() -> list[str]:
            result = self._episode.life.writer.reconciler.run(repair=False)
            found.extend((*result.mismatches, *result.ignored))
            return [item.id for item in found]

        self._episode.attempt("a person looks", look)
        return tuple(found)

    def _fitting(self, item: Mismatch) -> tuple[Choice, ...]:
        """What may be answered; a person who denies an order has looked at the venue before."""
        there = {order.link_id for order in self._episode.venue.all_orders()}
        return () if item.kind == "uncertain_order" and item.symbol in there else item.choices

    def _give(self, name: str, arguments: Arguments) -> None:
        """A command, as the writer takes it."""

        def act() -> str:
            writer, halt_file = self._episode.life.writer, HaltFile(self._episode.folder)
            run, executor = writer.reconciler.run, writer.executor
            control = Control(writer.store, executor=executor, reconcile=run, halt_file=halt_file)
            answer = control.execute(name, arguments)
            return f"{answer.exit_code} {answer.message}"

        self._episode.attempt(f"{name} {dict(arguments)}", act)


def asks(item: Mismatch) -> list[Choice]:
    """What a person is asked for, beyond leaving it."""
    return [choice for choice in item.choices if choice is not Choice.IGNORE]
