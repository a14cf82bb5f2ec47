"""One probability for each document from many noisy votes, without a label (data programming, Ratner et al. 2016).

`LabelModel` learns from the agreements of labeling functions how much each vote tells, and which functions repeat one
another. All it needs are the sums of a `VoteState`, so that the model of a corpus is the same to the bit for any cut
into shards.
"""

import json
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from curate.stats import calibration
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
        How many classes; of two, 0 is drop and 1 is keep.
    seed
        Enters the hash of the row numbers that choose the sample where `fit` is given no keys; nothing else is random.

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
        self._summary: dict[str, Any] | None = None

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
        """Learn from a matrix of votes; see `VoteState.count` for the arguments and `fit_state` for the rest.

        Raises
        ------
        ValueError
            With all that is wrong, a line each.
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
        """Learn from the sums over any number of shards.

        Parameters
        ----------
        state
            The sum of the shards' states.
        class_balance
            Share of each class, above 0 and of sum 1. Without it the balance is that of the gold, and without gold
            the posterior is good for ranks only, which `summary` says.

        Raises
        ------
        ValueError
            When the state is of another number of classes or has no documents, or when the balance is none.
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
        majority = outcome_tables.only_share(state, fit.says, np.ones(len(state.layout.names)), equal)
        self._state, self._fit, self._correction, self._summary = state, fit, correction, None
        self._fitted = Fitted(state.layout, posterior, majority, None if correction is None else correction.curve)
        return self

    @property
    def intercept(self) -> float:
        """Logit of class 1 before any vote, for two classes."""
        self._needs_two()
        posterior = self._ready().posterior
        return float(posterior.intercept[1] - posterior.intercept[0])

    def predict_proba(self, votes: ArrayLike) -> Floats:
        """Shape (documents, classes): the posterior; a document's is the same whatever others stand beside it."""
        fitted = self._ready()
        q = fitted.posterior.probabilities(self._checked(votes))
        if fitted.curve is not None:
            q[:, 1] = calibration.apply(fitted.curve, q[:, 1])
            q[:, 0] = 1 - q[:, 1]
        return q

    def log_odds(self, votes: ArrayLike) -> Floats:
        """Shape (documents, functions): what each function adds to the logit of keep, for two classes.

        Rows sum, with `intercept`, to the logit of `predict_proba`; gold's ridge correction is in them, and only the
        isotonic curve, which needs 1,000 gold documents, comes after.
        """
        self._needs_two()
        return self._ready().posterior.log_odds(self._checked(votes))

    def majority(self, votes: ArrayLike) -> Floats:
        """Shape (documents, classes): the smoothed share of the votes, each function counting the same."""
        return self._ready().majority.probabilities(self._checked(votes))

    def summary(self) -> dict[str, Any]:
        """What was learned, as JSON values: see docs/label_model.md for each."""
        fitted = self._ready()
        if self._summary is None:
            from curate.weak.model.summary import summarize

            assert self._state is not None
            assert self._fit is not None
            self._summary = summarize(self._state, self._fit, self._correction, fitted)
        return json.loads(json.dumps(self._summary))

    def save(self, folder: str | PathLike[str]) -> None:
        """Write the model as JSON and npz; the same state gives the same bytes."""
        fitted, summary, path = self._ready(), self.summary(), Path(folder)
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
        """Read what `save` wrote; ValueError when it is of another schema."""
        path = Path(folder)
        document = json.loads((path / MODEL_FILE).read_text())
        if document["schema"] != SCHEMA:
            raise ValueError(f"a label model of schema {document['schema']}, where {SCHEMA} is known: fit it again")
        layout = Layout(document["n_classes"], tuple(document["names"]), tuple(document["ordered"]))
        with np.load(path / ARRAYS_FILE, allow_pickle=False) as a:
            posterior = Posterior(
                layout.offsets, a["intercept"], a["additive"], a["mass"], document["share"], a["side"], a["floor"]
            )
            nothing = np.zeros_like(posterior.additive)
            majority = Posterior(
                layout.offsets,
                np.zeros(layout.n_classes),
                nothing,
                a["majority"],
                1.0,
                posterior.side,
                a["majority_floor"],
            )
        model = cls(document["n_classes"], document["seed"])
        model._fitted = Fitted(layout, posterior, majority, document["curve"])
        model._summary = document["summary"]
        return model

    def _ready(self) -> Fitted:
        if self._fitted is None:
            raise ValueError("the label model is not fitted: call fit or fit_state, or load one")
        return self._fitted

    def _needs_two(self) -> None:
        if self.n_classes != 2:
            raise ValueError(f"log-odds are of two classes, and there are {self.n_classes}: use predict_proba")

    def _checked(self, votes: ArrayLike) -> NDArray[np.int8]:
        layout, matrix = self._ready().layout, np.asarray(votes)
        if matrix.ndim != 2 or matrix.shape[1] != len(layout.names) or not np.issubdtype(matrix.dtype, np.integer):
            expected = f"integers of shape (documents, {len(layout.names)})"
            raise ValueError(f"votes are {matrix.dtype} of shape {matrix.shape}: they must be {expected}")
        complain(code_problems(matrix, layout.names, layout.ordered, layout.n_classes))
        return np.ascontiguousarray(matrix, np.int8)


def _state_problems(state: VoteState, n_classes: int) -> list[str]:
    if state.layout.n_classes != n_classes:
        return [f"the state is of {state.layout.n_classes} classes, the model of {n_classes}"]
    return [] if state.n else ["there are no documents to learn from"]


def balance_problems(balance: Sequence[float] | None, n_classes: int) -> list[str]:
    """What is wrong with a balance.

    Examples
    --------
    >>> balance_problems([0.5, 0.6], 2)
    ['class_balance sums to 1.1: it must sum to 1']
    >>> balance_problems([1.0, 0.0], 2)
    ['class_balance has 1.0, 0.0: each share must lie between 0 and 1, ends excluded']
    """
    if balance is None:
        return []
    values = np.asarray(balance, np.float64)
    if values.shape != (n_classes,):
        return [f"class_balance has shape {values.shape}: it must be ({n_classes},)"]
    if not ((values > 0) & (values < 1)).all():
        shown = ", ".join(map(str, values.tolist()))
        return [f"class_balance has {shown}: each share must lie between 0 and 1, ends excluded"]
    total = float(values.sum())
    return [] if abs(total - 1) <= 1e-6 else [f"class_balance sums to {total:.6g}: it must sum to 1"]
