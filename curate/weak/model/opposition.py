"""Whether functions oppose one another as no single class can make them.

If one class stood behind all that functions have in common, then turning those round that are wrong more often than
right would leave no two of them opposed: Cov(f, g) has the sign of a_f a_g. Where documents are bad in ways that
exclude one another, as text that was shuffled, or cut, or repeated, the functions that find one way are content where
others fire, and pairs stay opposed however functions are turned. A model of two classes then takes the commonest way
for the class, and the finders of all others for wrong.
"""

import numpy as np
from numpy.typing import NDArray

from curate.weak.model.rank_one import FEW, SURE, Correlations
from curate.weak.model.statistics import VoteState

ROUNDS = 10  # of turning functions round; two or three are enough where there is an order to find


def opposed(state: VoteState, says: NDArray[np.float64], found: Correlations) -> float:
    """Share of the pairs of related functions that are opposed when functions are turned round for the best.

    Parameters
    ----------
    state
        Of two classes.
    says
        Shape (outcomes,): what outcomes say by themselves, from `rank_one.directions`.
    found
        Correlations of outcomes.

    Returns
    -------
    float
        0 to 1; 0 where no two functions are related by `SURE` standard errors.
    """
    starts, asked = state.layout.offsets[:-1], np.maximum(state.asked, 1).astype(np.float64)
    rate = state.counts / asked[state.layout.function_of]
    mean = np.add.reduceat(says * rate, starts)
    spread = np.sqrt(np.maximum(np.add.reduceat(says**2 * rate, starts) - mean**2, 1e-12))
    meetings = np.multiply.outer(says, says) * found.values * found.unit
    together = np.add.reduceat(np.add.reduceat(meetings, starts, axis=0), starts, axis=1)
    n = np.maximum(found.documents, FEW)
    errors = together / np.multiply.outer(spread, spread) / np.sqrt(n)
    np.fill_diagonal(errors, 0.0)
    sign = np.ones(len(spread))
    for _ in range(ROUNDS):
        before = sign.copy()
        for j in range(len(sign)):
            sign[j] = 1.0 if float(errors[j] @ sign) >= 0 else -1.0
        if (sign == before).all():
            break
    turned = (errors * np.multiply.outer(sign, sign))[np.triu_indices(len(sign), 1)]
    related = np.abs(turned) >= SURE
    return float((turned[related] < 0).mean()) if related.any() else 0.0
