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
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegressionCV
from sklearn.model_selection import GroupKFold

from services.sufficiency_scorer.network import SufficiencyNetwork
from services.sufficiency_scorer.scorer_inputs import ScorerInputsBatch
from services.sufficiency_scorer.shape import Input, Shape
from training.names import BOOSTING, WORDS
from training.table import Bools

_COMPONENTS = 48
_PENALTIES = np.logspace(-4, 1, 11)
_INNER_FOLDS = 4
_LEARNING_RATE, _BATCH, _MAX_EPOCHS, _PATIENCE = 1e-4, 64, 300, 20


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
    network = SufficiencyNetwork(Shape(tuple(inputs), examples.stages, states, components))
    if uses_states:
        network.projection.copy_(_projection(examples.batch.states, components, seed))
    columns = _standardise(network, examples.batch)
    splits = list(GroupKFold(_INNER_FOLDS).split(columns, groups=examples.question))
    model = LogisticRegressionCV(
        Cs=_PENALTIES, cv=splits, scoring="neg_log_loss", max_iter=2000, l1_ratios=(0,), use_legacy_attributes=False
    ).fit(columns, examples.targets)
    last = network.layers[-1]
    assert isinstance(last, torch.nn.Linear)
    with torch.no_grad():
        last.weight.copy_(torch.from_numpy(model.coef_))
        last.bias.copy_(torch.from_numpy(model.intercept_))
    return network


def fit_mlp(examples: Examples, seed: int) -> SufficiencyNetwork:
    """The paper's MLP: 16 features -> 64 -> 32, ReLU, dropout 0.3, Adam 1e-4, early stopping on a fifth of the questions."""
    torch.manual_seed(seed)
    network = SufficiencyNetwork(Shape(("features",), examples.stages, hidden=(64, 32), dropout=0.3))
    columns = torch.from_numpy(_standardise(network, examples.batch)) * network.spread + network.mean
    targets = torch.from_numpy(examples.targets).float()
    questions = np.unique(examples.question)
    np.random.default_rng(seed).shuffle(questions)
    is_validation = torch.from_numpy(np.isin(examples.question, questions[: len(questions) // 5]))
    rows = torch.nonzero(~is_validation)[:, 0]
    optimizer = torch.optim.Adam(network.parameters(), lr=_LEARNING_RATE, fused=True)
    best_loss, epochs_since, best_state = float("inf"), 0, _copy_of_state(network)
    for _ in range(_MAX_EPOCHS):
        network.train()
        for picked in rows[torch.randperm(len(rows))].split(_BATCH):
            optimizer.zero_grad()
            _loss(network, columns[picked], targets[picked]).backward()
            optimizer.step()
        network.eval()
        with torch.inference_mode():
            loss = float(_loss(network, columns[is_validation], targets[is_validation]))
        epochs_since += 1
        if loss < best_loss:
            best_loss, epochs_since, best_state = loss, 0, _copy_of_state(network)
        if epochs_since == _PATIENCE:
            break
    network.load_state_dict(best_state)
    return network.eval()


def _loss(network: SufficiencyNetwork, columns: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.binary_cross_entropy_with_logits(network(columns), targets)


def _copy_of_state(network: SufficiencyNetwork) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


class Boosting:
    """Gradient-boosted trees on features, stage and length. Not served: trees are no SufficiencyNetwork."""

    def __init__(self, examples: Examples, seed: int) -> None:
        self._model = HistGradientBoostingClassifier(
            max_depth=3, learning_rate=0.05, max_iter=150, min_samples_leaf=20, l2_regularization=1.0, random_state=seed
        ).fit(self._columns(examples.batch), examples.targets)

    def logits(self, batch: ScorerInputsBatch) -> NDArray[np.float64]:
        return np.asarray(self._model.decision_function(self._columns(batch)), np.float64)

    @staticmethod
    def _columns(batch: ScorerInputsBatch) -> NDArray[np.float32]:
        return np.column_stack([batch.features, batch.stage, batch.tokens])


PLAIN: tuple[Input, ...] = ("features", "stage", "tokens")
ESTIMATORS: dict[str, Fit] = {
    "mlp": fit_mlp,
    "logistic": lambda examples, seed: fit_linear(PLAIN, examples, seed),
    BOOSTING: Boosting,
    "probe": lambda examples, seed: fit_linear(("states", "stage"), examples, seed),
    "combined": lambda examples, seed: fit_linear((*PLAIN, "states", "words"), examples, seed),
    WORDS: lambda examples, seed: fit_linear(("words", "stage"), examples, seed),
}


def _projection(states: NDArray[np.float32], components: int, seed: int) -> torch.Tensor:
    """Principal components, scaled to unit variance, float32[2 d, components]."""
    pca = PCA(components, svd_solver="randomized", random_state=seed).fit(states.astype(np.float64))
    scaled = np.asarray(pca.components_ / np.sqrt(np.maximum(pca.explained_variance_, 1e-12))[:, None])
    return torch.from_numpy(scaled.T.astype(np.float32))


def _standardise(network: SufficiencyNetwork, batch: ScorerInputsBatch) -> NDArray[np.float32]:
    """Set the network's mean and spread from `batch`; returns its columns standardised."""
    columns, is_standardised = network.columns(batch), torch.tensor(network.shape.is_standardised)
    network.mean.copy_(torch.where(is_standardised, columns.mean(dim=0), 0.0))
    network.spread.copy_(torch.where(is_standardised, columns.std(dim=0).clamp(min=1e-6), 1.0))
    return ((columns - network.mean) / network.spread).numpy()
