"""Estimators of sufficiency: fitted on inputs and outcomes of scoring passes, each returns a logit per pass.

`mlp` is the paper's. `logistic` and `boosting` are baselines on the same features. `probe` uses pooled hidden states,
`words` the question alone, without a scoring pass, `combined` all of these. All but `boosting` are SufficiencyNetworks,
so they can be saved and served (docs/method.md, Scorer).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegressionCV
from sklearn.model_selection import GroupKFold

from lab.training.names import BOOSTING, WORDS
from lab.training.table import Bools
from services.sufficiency_scorer.network import Input, Shape, SufficiencyNetwork
from services.sufficiency_scorer.scorer_inputs import ScorerInputsBatch

_COMPONENTS = 48
_PENALTIES = np.logspace(-4, 1, 11)
_INNER_FOLDS = 4


@dataclass(frozen=True)
class Examples:
    """n scoring passes: inputs, targets (Table.targets), and the index of each pass's question."""

    batch: ScorerInputsBatch
    targets: Bools
    question: NDArray[np.intp]
    stages: int

    def take(self, rows: Bools) -> Examples:
        return Examples(self.batch.take(rows), self.targets[rows], self.question[rows], self.stages)

    def concat(self, other: Examples) -> Examples:
        """These, and those of other questions, which get indices of their own."""
        question = np.concatenate([self.question, other.question + self.question.max(initial=0) + 1])
        targets = np.concatenate([self.targets, other.targets])
        return Examples(self.batch.concat(other.batch), targets, question, self.stages)


class Fitted(Protocol):
    def logits(self, batch: ScorerInputsBatch) -> NDArray[np.float64]: ...


Fit = Callable[[Examples, int], Fitted]
"""(examples, seed) -> a fitted model"""


def fit_linear(inputs: Sequence[Input], examples: Examples, seed: int) -> SufficiencyNetwork:
    """Logistic regression; its penalty minimises the cross-validated log-loss, with folds split by question."""
    uses_states = "states" in inputs
    states = examples.batch.states.shape[1] if uses_states else 0
    components = min(_COMPONENTS, len(examples.targets) // 8, states)
    network = SufficiencyNetwork.blank(Shape(tuple(inputs), examples.stages, states, components))
    if uses_states:
        network = network.having({"projection": _projection(examples.batch.states, components, seed)})
    network = _standardising(network, examples.batch)
    columns = network.standardised(network.columns(examples.batch))
    model = penalised_regression(examples).fit(columns, examples.targets)
    return network.having({"layers.0.weight": model.coef_, "layers.0.bias": model.intercept_})


def penalised_regression(examples: Examples) -> LogisticRegressionCV:
    """Not yet fitted, on columns of these passes."""
    splits = list(GroupKFold(_INNER_FOLDS).split(examples.targets, groups=examples.question))
    return LogisticRegressionCV(
        Cs=_PENALTIES, cv=splits, scoring="neg_log_loss", max_iter=2000, l1_ratios=(0,), use_legacy_attributes=False
    )


def plain_columns(batch: ScorerInputsBatch) -> NDArray[np.float32]:
    """Features, stage and length, one row a pass."""
    return np.column_stack([batch.features, batch.stage, batch.tokens])


def fit_mlp(examples: Examples, seed: int, inputs: Sequence[Input] = ("features",)) -> SufficiencyNetwork:
    """The paper's MLP: 16 features -> 64 -> 32, ReLU, dropout 0.3, Adam 1e-4, early stopping on a fifth of the
    questions.
    """
    from lab.training.mlp import learned_layers  # loads torch, which a promise does without

    network = SufficiencyNetwork.blank(Shape(tuple(inputs), examples.stages, hidden=(64, 32), dropout=0.3))
    network = _standardising(network, examples.batch)
    columns = network.standardised(network.columns(examples.batch))
    layers = learned_layers(network.shape, columns, examples.targets, examples.question, seed)
    return network.having({f"layers.{name}": value for name, value in layers.items()})


class Boosting:
    """Gradient-boosted trees on features, stage and length. Not served: trees are no SufficiencyNetwork."""

    def __init__(self, examples: Examples, seed: int) -> None:
        self._model = HistGradientBoostingClassifier(
            max_depth=3, learning_rate=0.05, max_iter=150, min_samples_leaf=20, l2_regularization=1.0, random_state=seed
        ).fit(plain_columns(examples.batch), examples.targets)

    def logits(self, batch: ScorerInputsBatch) -> NDArray[np.float64]:
        return np.asarray(self._model.decision_function(plain_columns(batch)), np.float64)


PLAIN: tuple[Input, ...] = ("features", "stage", "tokens")
ESTIMATORS: dict[str, Fit] = {
    "mlp": fit_mlp,
    "logistic": lambda examples, seed: fit_linear(PLAIN, examples, seed),
    BOOSTING: Boosting,
    "probe": lambda examples, seed: fit_linear(("states", "stage"), examples, seed),
    "combined": lambda examples, seed: fit_linear((*PLAIN, "states", "words"), examples, seed),
    WORDS: lambda examples, seed: fit_linear(("words", "stage"), examples, seed),
}


def _projection(states: NDArray[np.float32], components: int, seed: int) -> NDArray[np.float32]:
    """Principal components, scaled to unit variance, float32[2 d, components]."""
    pca = PCA(components, svd_solver="randomized", random_state=seed).fit(states.astype(np.float64))
    scaled = np.asarray(pca.components_ / np.sqrt(np.maximum(pca.explained_variance_, 1e-12))[:, None])
    return scaled.T.astype(np.float32)


def _standardising(network: SufficiencyNetwork, batch: ScorerInputsBatch) -> SufficiencyNetwork:
    """With the mean and spread of `batch`."""
    columns, is_standardised = network.columns(batch), network.shape.is_standardised
    mean = np.where(is_standardised, columns.mean(axis=0), 0.0)
    spread = np.where(is_standardised, columns.std(axis=0, ddof=1).clip(min=1e-6), 1.0)
    return network.having({"mean": mean, "spread": spread})
