"""How many examples hypothesis tries."""

from hypothesis import settings

USUAL = 100
"""Examples of a test that does not say how many, in the profile of ``make test``."""


def examples(count: int) -> settings:
    """Settings of a test that tries `count` examples in ``make test``, and as many times more as the profile in use.

    Fewer than `USUAL` where one example is a whole run of a stage; more where only rare combinations can go wrong.
    """
    return settings(max_examples=max(1, count * settings.default.max_examples // USUAL))
