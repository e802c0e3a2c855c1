"""Test the reference of the exact top K of |θ1 − θ0|, in chunks and without."""

from __future__ import annotations

import pytest
from bistil_kernels.sparse.top_k import reference
from kernel_cases.top_k import *  # noqa: F403


@pytest.fixture(params=[1 << 20, 17], autouse=True)
def chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "CHUNK", request.param)
