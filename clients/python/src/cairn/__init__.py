"""Questions to Cairn, the system of record for how a language model came to be.

    >>> import cairn
    >>> c = cairn.Client()
    >>> c.runs("config.optimizer.lr < 1e-3").curves("loss", x="tokens")    # doctest: +SKIP

`Client` waits for its answers; `AsyncClient` has the same methods to be awaited.
"""

from . import errors, filters
from ._async.client import AsyncClient
from ._async.runs import AsyncRuns
from ._async.selection import AsyncSelection
from ._async.things import AsyncRun
from ._schema import Checkpoint, Event, Gate, LineageEdge, LineageNode, Log, Projection, Standing, Task
from ._sync.client import Client
from ._sync.runs import Runs
from ._sync.selection import Selection
from ._sync.things import Dataset, Deployment, Document, Evaluation, Model, Run
from ._wire import VERSION as __version__
from .errors import CairnError
from .frames import Columns, Coverage
from .graph import Lineage

__all__ = [
    "AsyncClient",
    "AsyncRun",
    "AsyncRuns",
    "AsyncSelection",
    "CairnError",
    "Checkpoint",
    "Client",
    "Columns",
    "Coverage",
    "Dataset",
    "Deployment",
    "Document",
    "Evaluation",
    "Event",
    "Gate",
    "Lineage",
    "LineageEdge",
    "LineageNode",
    "Log",
    "Model",
    "Projection",
    "Run",
    "Runs",
    "Selection",
    "Standing",
    "Task",
    "__version__",
    "errors",
    "filters",
]
