"""Questions to Cairn, the system of record for how a language model came to be.

    >>> import cairn
    >>> c = cairn.Client()
    >>> c.runs("config.optimizer.lr < 1e-3").curves("loss", x="tokens")    # doctest: +SKIP

`Client` waits for its answers; `AsyncClient` has the same methods to be awaited.
"""

from . import errors, filters
from ._async.client import AsyncClient
from ._async.pairs import AsyncPairs
from ._async.results import AsyncResults
from ._async.runs import AsyncRuns
from ._async.selection import AsyncSelection
from ._async.things import AsyncRun
from ._schema import (
    Best,
    Checkpoint,
    Event,
    Gate,
    LineageEdge,
    LineageNode,
    Log,
    Projection,
    Reproducible,
    RunMetric,
    Standing,
    Task,
)
from ._sync.client import Client
from ._sync.pairs import Pairs
from ._sync.results import Results
from ._sync.runs import Runs
from ._sync.selection import Selection
from ._sync.things import Dataset, Deployment, Document, Evaluation, Model, Run
from ._tables import UnplacedWarning
from ._wire import VERSION as __version__
from .errors import CairnError
from .frames import Columns, Coverage
from .graph import Diff, Explanation, Impact, Lineage
from .pairing import Pair
from .results import Comparison, Matrix

__all__ = [
    "AsyncClient",
    "AsyncPairs",
    "AsyncResults",
    "AsyncRun",
    "AsyncRuns",
    "AsyncSelection",
    "Best",
    "CairnError",
    "Checkpoint",
    "Client",
    "Columns",
    "Comparison",
    "Coverage",
    "Dataset",
    "Deployment",
    "Diff",
    "Document",
    "Evaluation",
    "Event",
    "Explanation",
    "Gate",
    "Impact",
    "Lineage",
    "LineageEdge",
    "LineageNode",
    "Log",
    "Matrix",
    "Model",
    "Pair",
    "Pairs",
    "Projection",
    "Reproducible",
    "Results",
    "Run",
    "RunMetric",
    "Runs",
    "Selection",
    "Standing",
    "Task",
    "UnplacedWarning",
    "__version__",
    "errors",
    "filters",
]
