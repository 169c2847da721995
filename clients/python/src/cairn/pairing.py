"""A run and one that went on from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

R = TypeVar("R")

__all__ = ["Pair"]


@dataclass(frozen=True)
class Pair(Generic[R]):
    """Two runs of one line of recorded parents."""

    earlier: R
    """The ancestor."""
    later: R
    """The descendant."""
    between: tuple[R, ...] = ()
    """The runs between them, the earliest first; empty where the one is the other's parent."""
