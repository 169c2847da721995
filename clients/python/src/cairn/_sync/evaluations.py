# Generated from ../_async/evaluations.py by scripts/generate.py: do not edit.
"""Questions to the results of evaluations."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Optional, Union

from .._ask import PAGE_INFO, one
from .._listing import at_most
from .._schema import Best, MatrixRow, Task
from .._schema import Matrix as Grid
from .._wire import ref
from ..filters import AsOf
from ..results import Comparison, Matrix, result_filter
from .asking import Asking
from .results import Results
from .things import Thing

Steps = tuple[Optional[int], Optional[int]]
Ref = Union[str, Thing]

# Rows of a grid asked for in one request.
GRID_ROWS = 50


class ResultQuestions(Asking):
    """Which was best on what as of when, what is missing, and what is more than chance."""

    def tasks(self, *, as_of: AsOf | None = None, valid_at: datetime | str | None = None) -> list[Task]:
        """The tasks and metrics that results exist for."""
        answer = self.ask(one("tasks", Task.SELECTION, **self.when(as_of, valid_at)))
        return [Task.read(item) for item in answer.data["tasks"]]

    def evals(
        self,
        task: str | None = None,
        metric: str | None = None,
        *,
        suite: str | None = None,
        slice: str | None = None,
        dataset: Ref | None = None,
        protocol: str | None = None,
        subject: Ref | None = None,
        steps: Steps | None = None,
        as_of: AsOf | None = None,
        valid_at: datetime | str | None = None,
        superseded: bool = False,
    ) -> Results:
        """Results in order of position.

        In texts `*` stands for any characters; `protocol` is the beginning of a protocol's digest, `steps` the first
        and last step of checkpoints. `as_of` is recorded time: what the ledger held then, which never changes.
        `valid_at` is occurred time: only what had happened by then, as its producer says. Superseded results are left
        out unless they are asked for.
        """
        where = result_filter(suite, slice, dataset, protocol, subject, steps)
        arguments = {"task": task, "metric": metric, "where": where, **self.when(as_of, valid_at)}
        return Results(self, "results", arguments, superseded)

    def leaderboard(
        self,
        task: str,
        metric: str,
        *,
        suite: str | None = None,
        slice: str | None = None,
        dataset: Ref | None = None,
        protocol: str | None = None,
        subject: Ref | None = None,
        steps: Steps | None = None,
        as_of: AsOf | None = None,
        valid_at: datetime | str | None = None,
    ) -> Results:
        """The subjects' latest results on a metric of a task, best first; see `evals` for the arguments.

        `rank` counts among comparable results: those of one suite, slice and protocol.
        """
        where = result_filter(suite, slice, dataset, protocol, subject, steps)
        arguments = {"task": task, "metric": metric, "where": where, **self.when(as_of, valid_at)}
        return Results(self, "leaderboard", arguments, False)

    def best(
        self,
        task: str,
        metric: str,
        *,
        suite: str | None = None,
        slice: str | None = None,
        dataset: Ref | None = None,
        protocol: str | None = None,
        subject: Ref | None = None,
        steps: Steps | None = None,
        as_of: AsOf | None = None,
        valid_at: datetime | str | None = None,
    ) -> list[Best]:
        """The best result on a metric of a task; see `evals` for the arguments.

        There is one for each suite, slice and protocol, since unlike ones are not ranked against one another; the
        protocol that was used last comes first.
        """
        where = result_filter(suite, slice, dataset, protocol, subject, steps)
        asked = one("best", Best.SELECTION, task=task, metric=metric, where=where, **self.when(as_of, valid_at))
        return [Best.read(item) for item in (self.ask(asked)).data["best"]]

    def matrix(
        self,
        subjects: Sequence[Ref] | None = None,
        task: str | None = None,
        metric: str | None = None,
        *,
        suite: str | None = None,
        slice: str | None = None,
        dataset: Ref | None = None,
        protocol: str | None = None,
        subject: Ref | None = None,
        steps: Steps | None = None,
        by_step: bool = False,
        limit: int = 1000,
        as_of: AsOf | None = None,
        valid_at: datetime | str | None = None,
    ) -> Matrix:
        """The grid of subjects and tasks, in which what is missing is shown: failed, superseded or never evaluated.

        `subjects` are the rows, whether or not anything is known of them; without them every subject that the other
        arguments take. With `by_step` each checkpoint is a row. At most `limit` rows are read.
        """
        arguments = {
            "subjects": None if subjects is None else [ref(each) for each in subjects],
            "task": task,
            "metric": metric,
            "where": result_filter(suite, slice, dataset, protocol, subject, steps),
            "byStep": by_step or None,
            **self.when(as_of, valid_at),
        }
        rows: list[MatrixRow] = []
        after, most = None, at_most(limit)
        while True:
            first = min(GRID_ROWS, most - len(rows))
            asked = one("matrix", f"{Grid.SELECTION} {PAGE_INFO}", first=first, after=after, **arguments)
            answer = self.ask(asked)
            page, info = Grid.read(answer.data["matrix"]), answer.data["matrix"]["pageInfo"]
            rows += page.rows
            after = info["endCursor"]
            if not info["hasNextPage"] or len(rows) >= most or after is None:
                return Matrix(page.columns, rows, answer.coverage, self.settings.frames)

    def compare(
        self,
        *subjects: Ref,
        task: str,
        metric: str | None = None,
        suite: str | None = None,
        slice: str | None = None,
        dataset: Ref | None = None,
        protocol: str | None = None,
        side_by_side: bool = False,
        confidence: float | None = None,
        resamples: int | None = None,
        seed: int | None = None,
        samples: int | None = None,
        as_of: AsOf | None = None,
        valid_at: datetime | str | None = None,
    ) -> Comparison:
        """Two to four subjects on a metric of a task, sample by sample where samples were kept.

        Subjects are models, runs (`run:<uuid>#2000` is a checkpoint) or evaluations. Results of unlike protocols are
        refused by the name of what differs, unless `side_by_side` shows them without a verdict. `confidence`, between 0
        and 1, is that of the intervals and of the verdicts together; `resamples` and `seed` are the bootstrap's;
        `samples` is the number of samples to show on which the scores differ most.
        """
        arguments = {
            "subjects": [ref(subject) for subject in subjects],
            "task": task,
            "metric": metric,
            "where": result_filter(suite, slice, dataset, protocol),
            "sideBySide": side_by_side or None,
            "confidence": confidence,
            "resamples": resamples,
            "seed": seed,
            "samples": samples,
            **self.when(as_of, valid_at),
        }
        answer = self.ask(one("compareEvaluations", Comparison.SELECTION, **arguments))
        return Comparison.read(answer.data["compareEvaluations"])
