"""Sufficiency models behind one interface: fitted on evidence and outcomes, each gives a logit for each scoring pass.

`mlp` is the paper's (METHOD 1). `logistic` and `boosting` are sanity checks on the same features; `probe` reads pooled
hidden states, `words` the question alone, without a pass of the small model, `combined` all of these. All but `boosting` are SufficiencyNetworks, so they can be saved and served.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegressionCV
from sklearn.model_selection import GroupKFold

from services.sufficiency_scorer.evidence import EvidenceBatch
from services.sufficiency_scorer.network import Input, Shape, SufficiencyNetwork
from training.table import Bools

_COMPONENTS = 48
_PENALTIES = np.logspace(-4, 1, 11)
_INNER_FOLDS = 4
_LEARNING_RATE, _BATCH, _MOST_EPOCHS, _PATIENCE = 1e-4, 64, 300, 20


@dataclass(frozen=True)
class Examples:
    """n scoring passes: what was seen, whether that was enough (Table.enough), and whose question it was."""

    batch: EvidenceBatch
    enough: Bools
    question: NDArray[np.intp]
    stages: int

    def take(self, rows: Bools) -> Examples:
        return Examples(self.batch.take(rows), self.enough[rows], self.question[rows], self.stages)

    def plus(self, more: Examples) -> Examples:
        """These, and those of other questions."""
        question = np.concatenate([self.question, more.question + self.question.max(initial=0) + 1])
        return Examples(self.batch.plus(more.batch), np.concatenate([self.enough, more.enough]), question, self.stages)


class Fitted(Protocol):
    def logits(self, batch: EvidenceBatch) -> NDArray[np.float64]: ...


Fit = Callable[[Examples, int], Fitted]


def fit_linear(inputs: Sequence[Input], examples: Examples, seed: int) -> SufficiencyNetwork:
    """Logistic regression; its penalty is chosen by cross-validated log-loss, split by question."""
    reads_states = "states" in inputs
    states = examples.batch.states.shape[1] if reads_states else 0
    components = min(_COMPONENTS, len(examples.enough) // 8, states)
    network = SufficiencyNetwork(Shape(tuple(inputs), examples.stages, states, components))
    if reads_states:
        network.projection.copy_(_projection(examples.batch.states, components, seed))
    columns = _standardise(network, examples.batch)
    splits = list(GroupKFold(_INNER_FOLDS).split(columns, groups=examples.question))
    model = LogisticRegressionCV(
        Cs=_PENALTIES, cv=splits, scoring="neg_log_loss", max_iter=2000, l1_ratios=(0,), use_legacy_attributes=False
    ).fit(columns, examples.enough)
    last = network.layers[-1]
    assert isinstance(last, torch.nn.Linear)
    with torch.no_grad():
        last.weight.copy_(torch.from_numpy(model.coef_))
        last.bias.copy_(torch.from_numpy(model.intercept_))
    return network


def fit_mlp(examples: Examples, seed: int) -> SufficiencyNetwork:
    """The paper's: 16 features -> 64 -> 32, ReLU, dropout 0.3, Adam 1e-4, stopped early on a fifth of the questions."""
    torch.manual_seed(seed)
    network = SufficiencyNetwork(Shape(("features",), examples.stages, hidden=(64, 32), dropout=0.3))
    columns = torch.from_numpy(_standardise(network, examples.batch)) * network.spread + network.mean
    enough = torch.from_numpy(examples.enough).float()
    questions = np.unique(examples.question)
    np.random.default_rng(seed).shuffle(questions)
    held = torch.from_numpy(np.isin(examples.question, questions[: len(questions) // 5]))
    optimizer = torch.optim.Adam(network.parameters(), lr=_LEARNING_RATE, fused=True)
    loss_of = torch.nn.functional.binary_cross_entropy_with_logits
    best, since, kept = float("inf"), 0, {k: v.clone() for k, v in network.state_dict().items()}
    rows = torch.nonzero(~held)[:, 0]
    for _ in range(_MOST_EPOCHS):
        network.train()
        for picked in rows[torch.randperm(len(rows))].split(_BATCH):
            optimizer.zero_grad()
            loss_of(network(columns[picked]), enough[picked]).backward()
            optimizer.step()
        network.eval()
        with torch.inference_mode():
            loss = float(loss_of(network(columns[held]), enough[held]))
        since += 1
        if loss < best:
            best, since, kept = loss, 0, {k: v.clone() for k, v in network.state_dict().items()}
        if since == _PATIENCE:
            break
    network.load_state_dict(kept)
    return network.eval()


class Boosting:
    """Gradient-boosted trees on features, stage and length. Not served: trees are no SufficiencyNetwork."""

    def __init__(self, examples: Examples, seed: int) -> None:
        self._model = HistGradientBoostingClassifier(
            max_depth=3, learning_rate=0.05, max_iter=150, min_samples_leaf=20, l2_regularization=1.0, random_state=seed
        ).fit(self._columns(examples.batch), examples.enough)

    def logits(self, batch: EvidenceBatch) -> NDArray[np.float64]:
        return np.asarray(self._model.decision_function(self._columns(batch)), np.float64)

    @staticmethod
    def _columns(batch: EvidenceBatch) -> NDArray[np.float32]:
        return np.column_stack([batch.features, batch.stage, batch.tokens])


WORDS = "words"  # the one kind that needs no pass of the small model
PLAIN: tuple[Input, ...] = ("features", "stage", "tokens")
ESTIMATORS: dict[str, Fit] = {
    "mlp": fit_mlp,
    "logistic": lambda examples, seed: fit_linear(PLAIN, examples, seed),
    "boosting": Boosting,
    "probe": lambda examples, seed: fit_linear(("states", "stage"), examples, seed),
    "combined": lambda examples, seed: fit_linear((*PLAIN, "states", "words"), examples, seed),
    WORDS: lambda examples, seed: fit_linear(("words", "stage"), examples, seed),
}


def _projection(states: NDArray[np.float32], components: int, seed: int) -> torch.Tensor:
    """Directions of largest variance, each scaled to unit variance, float32[2 d, components]."""
    pca = PCA(components, svd_solver="randomized", random_state=seed).fit(states.astype(np.float64))
    scaled: Any = pca.components_ / np.sqrt(np.maximum(pca.explained_variance_, 1e-12))[:, None]
    return torch.from_numpy(scaled.T.astype(np.float32))


def _standardise(network: SufficiencyNetwork, batch: EvidenceBatch) -> NDArray[np.float32]:
    """Set the network's mean and spread from `batch`; returns its columns standardised."""
    columns, standardised = network.columns(batch), torch.tensor(network.shape.standardised)
    network.mean.copy_(torch.where(standardised, columns.mean(dim=0), 0.0))
    network.spread.copy_(torch.where(standardised, columns.std(dim=0).clamp(min=1e-6), 1.0))
    return ((columns - network.mean) / network.spread).numpy()
