"""Waiting, in both clients: the one part of them that their languages name differently."""

from __future__ import annotations

import asyncio
import time


async def async_sleep(seconds: float) -> None:
    """Waits without holding up the event loop."""
    await asyncio.sleep(seconds)


def sleep(seconds: float) -> None:
    """Waits."""
    time.sleep(seconds)
