"""One probability for each document from many noisy votes, without a label (data programming, Ratner et al. 2016).

`LabelModel` learns how informative each vote is, and which labeling functions repeat one another, from how often the
functions agree. It needs only the integer sums of a `VoteState`. The model of a corpus is therefore the same to the bit
however the corpus is cut into shards.
"""

import json
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from curate.stats import calibration
from curate.weak.manifest import ModelSummary
from curate.weak.model import fitting, gold_correction, outcome_tables
from curate.weak.model.fitting import Fit, Fitted
from curate.weak.model.posterior import Posterior
from curate.weak.model.rows import write_npz
from curate.weak.model.statistics import Layout, VoteState
from curate.weak.model.vote_checks import code_problems, complain

SCHEMA = 1
MODEL_FILE, ARRAYS_FILE = "label_model.json", "label_model.npz"

Floats = NDArray[np.float64]


class LabelModel:
    """The posterior of each document's class given the votes of labeling functions.

    Parameters
    ----------
    n_classes
        Number of classes. With two classes, 0 is drop and 1 is keep.
    seed
        Seed of the hash of row numbers that chooses the sample when `fit` gets no keys. Nothing else is random.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> truth = rng.integers(0, 2, 2000)
    >>> right = rng.random((2000, 5)) < [0.9, 0.8, 0.7, 0.7, 0.6]
    >>> votes = np.where(right, truth[:, None], 1 - truth[:, None]).astype(np.int8)
    >>> model = LabelModel().fit(votes, class_balance=[0.5, 0.5])
    >>> bool((model.predict_proba(votes).argmax(axis=1) == truth).mean() > 0.9)
    True
    """

    def __init__(self, n_classes: int = 2, seed: int = 0) -> None:
        self.n_classes = n_classes
        self.seed = seed
        self._fitted: Fitted | None = None
        self._state: VoteState | None = None
        self._fit: Fit | None = None
        self._correction: gold_correction.Correction | None = None
        self._summary: ModelSummary | None = None

    def fit(
        self,
        votes: ArrayLike,
        class_balance: Sequence[float] | None = None,
        gold: ArrayLike | None = None,
        names: Sequence[str] | None = None,
        *,
        ordered: Sequence[int] | None = None,
        keys: ArrayLike | None = None,
        gold_weights: ArrayLike | None = None,
    ) -> "LabelModel":
        """Fit the model to a matrix of votes.

        `VoteState.count` describes the arguments about votes, `fit_state` describes the class balance.

        Raises
        ------
        ValueError
            Some arguments are invalid. The message lists all problems, one per line.
        """
        state = VoteState.count(
            votes,
            n_classes=self.n_classes,
            ordered=ordered,
            keys=keys,
            gold=gold,
            gold_weights=gold_weights,
            names=names,
            seed=self.seed,
        )
        return self.fit_state(state, class_balance)

    def fit_state(self, state: VoteState, class_balance: Sequence[float] | None = None) -> "LabelModel":
        """Fit the model to the sums over any number of shards.

        Parameters
        ----------
        state
            The sum of the shards' states.
        class_balance
            Share of each class; the shares are above 0 and sum to 1. When it is None, the balance is estimated from
            the gold labels. Without gold labels too, the posterior only ranks documents, and `summary` warns of this.

        Raises
        ------
        ValueError
            The state has another number of classes or no documents, or the balance is not a distribution.
        """
        complain(_state_problems(state, self.n_classes) + balance_problems(class_balance, self.n_classes))
        stated = None if class_balance is None else np.asarray(class_balance, np.float64)
        fit = fitting.fit(state, None if stated is None else stated / stated.sum())
        posterior, correction = fit.posterior, None
        labels = state.gold.labels
        if len(labels) >= gold_correction.ENOUGH and len(np.unique(labels)) > 1:
            correction = gold_correction.correct(state.layout, posterior, state.gold)
            posterior = correction.linear.applied(posterior)
        equal = np.full(self.n_classes, 1 / self.n_classes)
        majority = outcome_tables.only_share(state, fit.direction, np.ones(len(state.layout.names)), equal)
        self._state, self._fit, self._correction, self._summary = state, fit, correction, None
        self._fitted = Fitted(state.layout, posterior, majority, None if correction is None else correction.curve)
        return self

    @property
    def intercept(self) -> float:
        """Logit of class 1 before any vote (two classes only)."""
        self._require_two_classes()
        posterior = self._require_fitted().posterior
        return float(posterior.intercept[1] - posterior.intercept[0])

    def predict_proba(self, votes: ArrayLike) -> Floats:
        """Posterior of each document, shape (documents, classes).

        A document's posterior does not depend on the other documents of the call.
        """
        fitted = self._require_fitted()
        q = fitted.posterior.probabilities(self._checked_votes(votes))
        if fitted.curve is not None:
            q[:, 1] = calibration.apply(fitted.curve, q[:, 1])
            q[:, 0] = 1 - q[:, 1]
        return q

    def log_odds(self, votes: ArrayLike) -> Floats:
        """Contribution of each function to the logit of keep, shape (documents, functions); two classes only.

        A row plus `intercept` sums to the logit of `predict_proba`. The contributions include the ridge correction by
        gold labels. They do not include the isotonic curve, which needs 1,000 gold documents and is applied afterwards.
        """
        self._require_two_classes()
        return self._require_fitted().posterior.log_odds(self._checked_votes(votes))

    def majority(self, votes: ArrayLike) -> Floats:
        """Smoothed share of the votes, all functions with equal weight, shape (documents, classes)."""
        return self._require_fitted().majority.probabilities(self._checked_votes(votes))

    def summary(self) -> ModelSummary:
        """The fitted model's facts as JSON values; docs/label_model.md describes each of them."""
        fitted = self._require_fitted()
        if self._summary is None:
            from curate.weak.model.summary import summarize

            assert self._state is not None
            assert self._fit is not None
            self._summary = summarize(self._state, self._fit, self._correction, fitted)
        return json.loads(json.dumps(self._summary))

    def save(self, folder: str | PathLike[str]) -> None:
        """Write the model as JSON and npz. The same state always gives the same bytes."""
        fitted, summary, path = self._require_fitted(), self.summary(), Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        layout = fitted.layout
        document = {
            "schema": SCHEMA,
            "n_classes": self.n_classes,
            "seed": self.seed,
            "names": list(layout.names),
            "ordered": list(layout.ordered),
            "share": fitted.posterior.share,
            "curve": fitted.curve,
            "summary": summary,
        }
        (path / MODEL_FILE).write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")
        posterior = fitted.posterior
        arrays = {
            "intercept": posterior.intercept,
            "additive": posterior.additive,
            "mass": posterior.mass,
            "side": posterior.side,
            "floor": posterior.floor,
            "majority": fitted.majority.mass,
            "majority_floor": fitted.majority.floor,
        }
        write_npz(path / ARRAYS_FILE, arrays)

    @classmethod
    def load(cls, folder: str | PathLike[str]) -> "LabelModel":
        """Read a model that `save` wrote.

        Raises
        ------
        ValueError
            The model was saved with another schema.
        """
        path = Path(folder)
        document = json.loads((path / MODEL_FILE).read_text())
        if document["schema"] != SCHEMA:
            raise ValueError(
                f"the label model has schema {document['schema']}, but this version reads schema {SCHEMA}: "
                "fit the model again"
            )
        layout = Layout(document["n_classes"], tuple(document["names"]), tuple(document["ordered"]))
        with np.load(path / ARRAYS_FILE, allow_pickle=False) as a:
            posterior = Posterior(
                layout.offsets, a["intercept"], a["additive"], a["mass"], document["share"], a["side"], a["floor"]
            )
            no_additive = np.zeros_like(posterior.additive)
            majority = Posterior(
                layout.offsets,
                np.zeros(layout.n_classes),
                no_additive,
                a["majority"],
                1.0,
                posterior.side,
                a["majority_floor"],
            )
        model = cls(document["n_classes"], document["seed"])
        model._fitted = Fitted(layout, posterior, majority, document["curve"])
        model._summary = document["summary"]
        return model

    def _require_fitted(self) -> Fitted:
        if self._fitted is None:
            raise ValueError("the label model is not fitted: call fit or fit_state first, or load a fitted model")
        return self._fitted

    def _require_two_classes(self) -> None:
        if self.n_classes != 2:
            raise ValueError(f"log-odds need two classes, but the model has {self.n_classes}: use predict_proba")

    def _checked_votes(self, votes: ArrayLike) -> NDArray[np.int8]:
        layout, matrix = self._require_fitted().layout, np.asarray(votes)
        if matrix.ndim != 2 or matrix.shape[1] != len(layout.names) or not np.issubdtype(matrix.dtype, np.integer):
            expected = f"integers of shape (documents, {len(layout.names)})"
            raise ValueError(f"votes have type {matrix.dtype} and shape {matrix.shape}: they must be {expected}")
        complain(code_problems(matrix, layout.names, layout.ordered, layout.n_classes))
        return np.ascontiguousarray(matrix, np.int8)


def _state_problems(state: VoteState, n_classes: int) -> list[str]:
    if state.layout.n_classes != n_classes:
        return [f"the vote state has {state.layout.n_classes} classes, but the model has {n_classes}"]
    return [] if state.n else ["there are no documents to learn from"]


def balance_problems(balance: Sequence[float] | None, n_classes: int) -> list[str]:
    """List what is wrong with a class balance; an empty list when it is valid or None.

    Examples
    --------
    >>> balance_problems([0.5, 0.6], 2)
    ['class_balance sums to 1.1: it must sum to 1']
    >>> balance_problems([1.0, 0.0], 2)
    ['class_balance has 1.0, 0.0: each share must be above 0 and below 1']
    """
    if balance is None:
        return []
    values = np.asarray(balance, np.float64)
    if values.shape != (n_classes,):
        return [f"class_balance has shape {values.shape}: it must be ({n_classes},)"]
    if not ((values > 0) & (values < 1)).all():
        shown = ", ".join(map(str, values.tolist()))
        return [f"class_balance has {shown}: each share must be above 0 and below 1"]
    total = float(values.sum())
    return [] if abs(total - 1) <= 1e-6 else [f"class_balance sums to {total:.6g}: it must sum to 1"]
