"""What the options of `tandem plan` mean: the figures of a pair, typed or measured, and how sure they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, cast

import typer

from tandem.method.profile.prices import Prices, RolePrices
from tandem.method.profile.profile import Profile
from tandem.planning.payoff import USUAL_CORRELATION, Label, Pair, StageFigures, bounds, correlation_of

if TYPE_CHECKING:
    from lab.training.forecast import Draw

    Planned = tuple[Pair, int | None, Draw | None]

_MEASURED = ("small", "large", "both", "correlation", "tokens", "length", "stages", "n")  # on the questions of a file


@dataclass(frozen=True)
class Given:
    """The options; None, empty or () where one is not given."""

    small: float | None
    large: float | None
    both: float | None
    correlation: float | None
    price_ratio: float | None
    llm_usd: str
    slm_usd: str
    tokens: str
    length: float | None
    auroc: float | None
    auroc_large: float | None
    early_auroc: float | None
    auroc_of: str
    check_share: float | None
    check_pass_right: float | None
    check_pass_wrong: float | None
    trial_cost: float | None
    scoring_cost: float | None
    stages: tuple[str, ...]
    n: int | None

    def typed(self) -> Planned:
        """The pair of the typed figures. Raises typer.BadParameter."""
        from lab.training.forecast import redrawing

        if self.small is None or self.large is None:
            raise typer.BadParameter("give --small and --large, or a file of `tandem collect`")
        answer, reading = self._costs()
        correlation = self._correlation(self.small, self.large)
        typed = Pair(self.small, self.large, answer, correlation, scoring=reading, stages=self._stages(answer))
        pair = self._with_options(typed)
        return pair, self.n, redrawing(pair, self.n, self._holding(pair)) if self.n else None

    def measured(self, files: list[Path], profile: Profile) -> Planned:
        """The pair of the collected files, except for figures that are typed. Raises StoreError, typer.BadParameter."""
        from lab.training.collected import load_collected
        from lab.training.forecast import resampling
        from lab.training.pair_sample import of_table

        for name in _MEASURED:
            if getattr(self, name) not in (None, "", ()):
                option = "--stage" if name == "stages" else f"--{name}"
                _refuse(option, "is measured on the questions of the file")
        collected = load_collected(files, profile)
        sample = of_table(collected.table, self._prices() or collected.plan.prices)
        pair = self._with_options(sample.measured(self._label()))
        return pair, len(sample), resampling(sample, self._label(), self._with_options)

    @property
    def assumes_free_score(self) -> bool:
        """That the score tells nothing of the large model is an assumption."""
        return (
            self.small is not None and self.auroc is not None and self.auroc_large is None and self.auroc_of == "right"
        )

    def _with_options(self, pair: Pair) -> Pair:
        """`pair` with the figures that are typed."""
        return replace(
            pair,
            score=_replaced(pair.score, auroc=self.auroc, large_auroc=self.auroc_large, label=self._label()),
            early=_replaced(pair.early, auroc=self.early_auroc, label=self._label()),
            check=_replaced(
                pair.check, share=self.check_share, pass_right=self.check_pass_right, pass_wrong=self.check_pass_wrong
            ),
            trial=self.trial_cost,
            scoring=pair.scoring if self.scoring_cost is None else self.scoring_cost,
        )

    def _holding(self, pair: Pair) -> Callable[[Pair], Pair]:
        """Puts the figures that were assumed, not measured, back into a pair that was drawn."""

        def hold(drawn: Pair) -> Pair:
            is_assumed = self.both is None and self.correlation is None
            score = pair.score if self.auroc is None else drawn.score
            return replace(
                drawn,
                correlation=pair.correlation if is_assumed else drawn.correlation,
                score=_replaced(score, large_auroc=pair.score.large_auroc if self.auroc_large is None else None),
                early=pair.early if self.early_auroc is None else _replaced(drawn.early, large_auroc=0.5),
                check=_replaced(
                    drawn.check if self.check_share else pair.check,
                    pass_right=pair.check.pass_right if self.check_pass_right is None else None,
                    pass_wrong=pair.check.pass_wrong if self.check_pass_wrong is None else None,
                ),
                trial=pair.trial,
            )

        return hold

    def _label(self) -> Label:
        if self.auroc_of not in ("right", "nothing_lost"):
            _refuse("--auroc-of", f"{self.auroc_of!r} is neither right nor nothing_lost")
        return cast(Label, self.auroc_of)

    def _correlation(self, small: float, large: float) -> float:
        if self.both is None:
            return USUAL_CORRELATION if self.correlation is None else self.correlation
        if self.correlation is not None:
            _refuse("--both", "excludes --correlation: give one")
        low, high = bounds(small, large)
        if not low <= self.both <= high:
            _refuse("--both", f"{self.both} is impossible with --small {small} and --large {large}")
        return correlation_of(small, large, self.both)

    def _costs(self) -> tuple[float, float]:
        """Of the small model's answer, and of reading the question, relative to the large model's answer."""
        prices, length = self._prices(), 1.0 if self.length is None else self.length
        if prices is None:
            raise typer.BadParameter("give --price-ratio, or --llm-usd, --slm-usd and --tokens")
        if self.price_ratio is None and not self.tokens:
            _refuse("--tokens", "is needed with USD prices, for example 300/600")
        prompt, output = parse_two(self.tokens, "--tokens") if self.tokens else (0.0, 1.0)
        alone = _usd(prices.of("llm"), prompt, output)
        return _usd(prices.of("slm"), prompt, length * output) / alone, _usd(prices.of("slm"), prompt, 0) / alone

    def _prices(self) -> Prices | None:
        if bool(self.llm_usd) != bool(self.slm_usd):
            _refuse("--llm-usd", "and --slm-usd belong together: give both")
        if self.price_ratio is not None:
            if self.llm_usd:
                _refuse("--price-ratio", "excludes --llm-usd and --slm-usd")
            small = RolePrices(output=1)
            return _prices("price ratio", RolePrices(output=self.price_ratio), small)
        if not self.llm_usd:
            return None
        (large_in, large_out), (small_in, small_out) = (
            parse_two(self.llm_usd, "--llm-usd"),
            parse_two(self.slm_usd, "--slm-usd"),
        )
        small = RolePrices(input=small_in, output=small_out)
        return _prices("typed", RolePrices(input=large_in, output=large_out), small)

    def _stages(self, answer: float) -> tuple[StageFigures, ...]:
        found = [StageFigures(*parse_two(text, "--stage"), answer=answer) for text in self.stages]
        costs = [stage.insight for stage in found]
        if costs != sorted(costs) or any(not 0 < stage.right < 1 or stage.insight >= 1 for stage in found):
            _refuse("--stage", "needs ascending costs and accuracies between 0 and 1, for example 0.04/0.79")
        return tuple(found)


def _usd(prices: RolePrices, prompt: float, output: float) -> float:
    return prices.input * prompt + prices.output * output


def _replaced(value: Any, **changes: Any) -> Any:
    return replace(value, **{name: new for name, new in changes.items() if new is not None})


def parse_two(text: str, option: str) -> tuple[float, float]:
    """Two numbers with a slash between them. Raises typer.BadParameter, which names `option`."""
    try:
        first, second = (float(part) for part in text.split("/"))
    except ValueError:
        _refuse(option, f"{text!r} is not two numbers, as in 2/12")
    if first < 0 or second <= 0:
        _refuse(option, f"{text!r}: the first number must not be negative, the second must be positive")
    return first, second


def _refuse(option: str, reason: str) -> NoReturn:
    raise typer.BadParameter(reason, param_hint=option)


def _prices(version: str, large: RolePrices, small: RolePrices) -> Prices:
    return Prices(version, {"llm": large, "slm": small, "scorer": small})
