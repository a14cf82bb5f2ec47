"""Confidence intervals of shares that are estimated from a sample of documents."""

import numpy as np


def wilson_interval(hits: float, total: float) -> tuple[float, float]:
    """Return Wilson's score interval, at 95 % confidence, of the share ``hits / total``.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22, 1927.

    Examples
    --------
    >>> [round(bound, 3) for bound in wilson_interval(199, 200)]
    [0.972, 0.999]
    """
    if total == 0:
        return 0.0, 1.0
    z, share = 1.959964, hits / total
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * np.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return max(float(middle - half), 0.0), min(float(middle + half), 1.0)
