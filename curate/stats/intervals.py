"""How sure a share is that was counted on some documents."""

import numpy as np


def wilson_interval(found: float, of: float) -> tuple[float, float]:
    """Wilson's score interval of a share, at 95 %.

    Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22, 1927.

    Examples
    --------
    >>> [round(bound, 3) for bound in wilson_interval(199, 200)]
    [0.972, 0.999]
    """
    if of == 0:
        return 0.0, 1.0
    z, share = 1.959964, found / of
    middle = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z / (1 + z * z / of) * np.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return max(float(middle - half), 0.0), min(float(middle + half), 1.0)
