"""Which measurements of a pipeline are counted two by two, for the joint densities of the report."""

from collections.abc import Sequence

from curate.registry import stage_type
from curate.stage import Stage

DENSITY = "density"
MOST = 4  # measurements of one table: six pairs, of which each has up to 1,600 cells per source


class Measuring:
    """A base of stages with a measurement that the report compares with those of other stages.

    Where such stages measure at least two columns of the same documents, the pipeline adds a `density` stage for them,
    unless the recipe has one.
    """

    def measures(self) -> tuple[str, ...]:
        """Columns to compare with those of other stages.

        They may belong to other stages: `buckets` names the column by which it divides the documents.
        """
        raise TypeError(f"{type(self).__name__} does not say what it measures")

    def companions(self, beside: Sequence[Stage]) -> tuple[Stage, ...]:
        """The `density` stage of the columns that `compared` chooses, if there are two or more."""
        columns = compared(beside)
        if len(columns) < 2 or any(stage.stage == DENSITY for stage in beside):
            return ()
        return (stage_type(DENSITY).model_validate({"of": columns}),)


def compared(stages: Sequence[Stage]) -> tuple[str, ...]:
    """Choose the columns to compare: one of each stage that writes any, at most `MOST`.

    Of the columns of a stage, the last one listed counts, so that a later `buckets` decides which of them it is. A
    column that several stages promise is left out, because its owner is not known.
    """
    owners: dict[str, list[int]] = {}
    for position, stage in enumerate(stages):
        for column in stage.columns().names:
            owners.setdefault(column, []).append(position)
    listed = [column for stage in stages if isinstance(stage, Measuring) for column in stage.measures()]
    chosen = {owners[column][0]: column for column in listed if len(owners.get(column, ())) == 1}
    return tuple(chosen.values())[:MOST]
