"""A client of the real server, whose address the variable CAIRN_TEST_URL gives."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

import cairn
import seed as seeding


@pytest.fixture(scope="session")
def url() -> str:
    found = os.environ.get("CAIRN_TEST_URL")
    if not found:
        pytest.exit("CAIRN_TEST_URL is not set; `cargo test -p cairn-cli --test clients` sets it", 2)
    return found


@pytest.fixture(scope="session")
def real_url() -> str:
    """A server of what others published: the OLMo ladder, OLMo 2 7B and DataDecide."""
    found = os.environ.get("CAIRN_TEST_REAL_URL")
    if not found:
        pytest.skip("CAIRN_TEST_REAL_URL is not set")
    return found


@pytest.fixture(scope="session")
def seed(url: str) -> seeding.Seed:
    return seeding.fill(url)


@pytest.fixture
def client(url: str, seed: seeding.Seed) -> Iterator[cairn.Client]:
    with cairn.Client(url, at_least=seed.positions["second"]) as made:
        yield made
