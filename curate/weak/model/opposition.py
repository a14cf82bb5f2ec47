"""Detect functions that disagree with one another in a way that a single class cannot explain.

If a single class caused all correlations, Cov(f, g) would have the sign of a_f a_g. Reversing the functions that are
wrong more often than right would then leave no two functions negatively correlated. This fails where documents have
defects that exclude one another, such as text that is shuffled, truncated or repeated. A function for one defect votes
keep where a function for another defect votes drop, and some pairs stay negatively correlated however functions are
reversed. A model of two classes then takes the commonest defect for the class, and judges the functions for all other
defects to be wrong.
"""

import numpy as np
from numpy.typing import NDArray

from curate.weak.model.rank_one import FEW, SURE, Correlations
from curate.weak.model.statistics import VoteState

ROUNDS = 10  # of reversing functions; two or three suffice where consistent signs exist


def opposed(state: VoteState, direction: NDArray[np.float64], observed: Correlations) -> float:
    """Share of the correlated pairs of functions that stay negatively correlated after the best reversal of functions.

    Parameters
    ----------
    state
        Statistics of the votes, for two classes.
    direction
        Shape (outcomes,): direction of each outcome, from `rank_one.directions`.
    observed
        Correlations of outcomes.

    Returns
    -------
    float
        0 to 1; 0 if no two functions are correlated by `SURE` standard errors.
    """
    starts, asked = state.layout.offsets[:-1], np.maximum(state.asked, 1).astype(np.float64)
    rate = state.counts / asked[state.layout.function_of]
    mean = np.add.reduceat(direction * rate, starts)
    spread = np.sqrt(np.maximum(np.add.reduceat(direction**2 * rate, starts) - mean**2, 1e-12))
    outcome_products = np.multiply.outer(direction, direction) * observed.values * observed.unit
    joint = np.add.reduceat(np.add.reduceat(outcome_products, starts, axis=0), starts, axis=1)
    n = np.maximum(observed.documents, FEW)
    errors = joint / np.multiply.outer(spread, spread) / np.sqrt(n)
    np.fill_diagonal(errors, 0.0)
    sign = np.ones(len(spread))
    for _ in range(ROUNDS):
        before = sign.copy()
        for j in range(len(sign)):
            sign[j] = 1.0 if float(errors[j] @ sign) >= 0 else -1.0
        if (sign == before).all():
            break
    reversed_errors = (errors * np.multiply.outer(sign, sign))[np.triu_indices(len(sign), 1)]
    related = np.abs(reversed_errors) >= SURE
    return float((reversed_errors[related] < 0).mean()) if related.any() else 0.0
