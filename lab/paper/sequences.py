"""Scorers of the order of the tokens: the 23 statistics of the authors' code, and a small recurrent network over the
tokens themselves.

They read lab.paper.passes; none is served. Of the authors' statistics only the kinds are known here (slopes, shares of
rises and falls, means of quarters, length), so these 23 are our reading: of log-perplexity and of entropy each the
mean, spread, largest and smallest value, slope over the positions, shares of tokens that rise and that fall, and means
of four quarters; and the length.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegressionCV
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lab.paper.passes import Passes
from lab.training.early_stopping import Schedule, split_by_question, train
from lab.training.estimators import Boosting, Examples, Fit, Fitted, penalised_regression, plain_columns
from services.sufficiency_scorer.scorer_inputs import MAX_NLL, ScorerInputsBatch

_HIDDEN, _DROPOUT, _RATE, _SCHEDULE = 16, 0.3, 3e-3, Schedule(batch=64, epochs=60, patience=8)


def of_statistics(examples: Examples, passes: Passes) -> Examples:
    """The same passes with float32[n, 23] as their features."""
    found = np.array(
        [statistics(values[:length]) for values, length in zip(passes.values, passes.lengths, strict=True)]
    )
    return replace(examples, batch=replace(examples.batch, features=found.astype(np.float32)))


def of_tokens(examples: Examples, passes: Passes) -> Examples:
    """The same passes with float32[n, longest, 2] as their features: log-perplexity and entropy of each token, NaN
    behind the last.
    """
    return replace(examples, batch=replace(examples.batch, features=_signals(passes.values)))


def statistics(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """float64[23] of float32[n, 2], n >= 1."""
    signals = _signals(values).astype(np.float64)
    return np.array([*_of_signal(signals[:, 0]), *_of_signal(signals[:, 1]), len(values)])


def _signals(values: NDArray[np.float32]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = np.stack([np.minimum(-values[..., 0], MAX_NLL), values[..., 1]], axis=-1)
    return found


def _of_signal(signal: NDArray[np.float64]) -> list[float]:
    steps = np.diff(signal)
    positions = np.linspace(-1, 1, len(signal))
    slope = float(positions @ signal) / max(float(positions @ positions), 1e-9)
    quarters = [float(part.mean()) if len(part) else float(signal.mean()) for part in np.array_split(signal, 4)]
    rises, falls = (float((steps * sign > 0).mean()) if len(steps) else 0.0 for sign in (1, -1))
    return [signal.mean(), signal.std(), signal.max(), signal.min(), slope, rises, falls, *quarters]


class _Columns:
    """A model of scikit-learn on features, stage and length."""

    def __init__(self, model: LogisticRegressionCV | MLPClassifier, examples: Examples) -> None:
        self._model = make_pipeline(StandardScaler(), model).fit(plain_columns(examples.batch), examples.targets)

    def logits(self, batch: ScorerInputsBatch) -> NDArray[np.float64]:
        chances = self._model.predict_proba(plain_columns(batch))[:, 1].clip(1e-6, 1 - 1e-6)
        found: NDArray[np.float64] = np.log(chances / (1 - chances))
        return found


def fit_logistic(examples: Examples, seed: int) -> Fitted:
    return _Columns(penalised_regression(examples), examples)


def fit_mlp(examples: Examples, seed: int) -> Fitted:
    """Of the paper's size, without its dropout."""
    model = MLPClassifier(
        (64, 32), learning_rate_init=1e-3, batch_size=64, max_iter=300, early_stopping=True, validation_fraction=0.2,
        n_iter_no_change=20, random_state=seed,
    )  # fmt: skip
    return _Columns(model, examples)


class _Recurrent(torch.nn.Module):
    """A gated recurrent unit over the tokens; its mean and last state, with the stage, give the logit."""

    def __init__(self) -> None:
        super().__init__()
        self.unit = torch.nn.GRU(2, _HIDDEN, batch_first=True)
        self.dropout = torch.nn.Dropout(_DROPOUT)
        self.last = torch.nn.Linear(2 * _HIDDEN + 1, 1)

    def forward(self, values: torch.Tensor, lengths: torch.Tensor, stage: torch.Tensor) -> torch.Tensor:
        states = self.unit(values)[0]
        is_token = (torch.arange(values.shape[1]) < lengths[:, None])[:, :, None]
        mean = (states * is_token).sum(1) / lengths[:, None]
        at_end = states[torch.arange(len(states)), lengths - 1]
        logits: torch.Tensor = self.last(torch.cat([self.dropout(mean), self.dropout(at_end), stage[:, None]], 1))
        return logits[:, 0]


class Recurrent:
    """Trained with early stopping on a fifth of the questions."""

    def __init__(self, examples: Examples, seed: int) -> None:
        torch.manual_seed(seed)
        values, lengths, stage = _tensors(examples.batch)
        known = torch.cat([each[:length] for each, length in zip(values, lengths, strict=True)])
        self._mean, self._spread = known.mean(0), known.std(0)
        self._network = _Recurrent()
        targets = torch.from_numpy(examples.targets).float()
        scaled = self._scaled(values)

        def loss(rows: torch.Tensor) -> torch.Tensor:
            logits = self._network(scaled[rows], lengths[rows], stage[rows])
            return torch.nn.functional.binary_cross_entropy_with_logits(logits, targets[rows])

        optimizer = torch.optim.Adam(self._network.parameters(), lr=_RATE)
        train(self._network, optimizer, loss, split_by_question(examples.question, seed), _SCHEDULE)

    def logits(self, batch: ScorerInputsBatch) -> NDArray[np.float64]:
        values, lengths, stage = _tensors(batch)
        with torch.inference_mode():
            found: NDArray[np.float64] = self._network(self._scaled(values), lengths, stage).numpy().astype(np.float64)
        return found

    def _scaled(self, values: torch.Tensor) -> torch.Tensor:
        return ((values - self._mean) / self._spread).nan_to_num()


def _tensors(batch: ScorerInputsBatch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Values float32[n, longest, 2], lengths int64[n], stages float32[n]."""
    lengths = (~np.isnan(batch.features[:, :, 0])).sum(axis=1)
    return torch.from_numpy(batch.features), torch.from_numpy(lengths), torch.from_numpy(batch.stage).float()


OF_STATISTICS: dict[str, Fit] = {
    "23 statistics, MLP": fit_mlp,
    "23 statistics, logistic regression": fit_logistic,
    "23 statistics, gradient boosting": Boosting,
}
OF_TOKENS: dict[str, Fit] = {"tokens, recurrent network": Recurrent}
OF_PASSES = OF_STATISTICS | OF_TOKENS
