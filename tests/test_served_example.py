"""Serve a folder of sentence-transformers by the example, and ask it for vectors."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import pytest
import tiny
from sentence_models import write_embedder

from bistil_ds.distributed.startup import free_port
from bistil_ds.export.export_model import export_model

EXAMPLE = Path(__file__).parents[1] / "examples" / "serve_embeddings.py"
SECONDS = 300  # to import torch twice and load the model on a busy machine

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the exported folder of an encoder with mean pooling and a default prompt."""
    teacher = write_embedder(tmp_path / "teacher", layers=2)
    (teacher / "config_sentence_transformers.json").write_text(json.dumps(tiny.PROMPTS))
    return export_model(str(teacher), task="embed", output_dir=tmp_path / "exported")


@pytest.fixture
def address(folder: Path) -> Iterator[str]:
    """Start the example on a free port, yield its address once it answers, and end it with all its processes."""
    address, log = f"http://127.0.0.1:{(port := free_port())}", folder.with_name("log")
    with log.open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, str(EXAMPLE), str(folder), str(port)],
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder.parent,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
            start_new_session=True,
        )
    try:
        stop = time.monotonic() + SECONDS
        while not is_ready(address):
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < stop, log.read_text()
            time.sleep(0.5)
        yield address
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def is_ready(address: str) -> bool:
    try:
        with urlopen(f"{address}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:  # nobody listens yet, or the model is still being loaded
        return False


def ask(address: str, texts: str | list[str]) -> dict[str, Any]:
    question = json.dumps({"model": "ours", "input": texts}).encode()
    request = Request(f"{address}/v1/embeddings", question, {"Content-Type": "application/json"})
    with urlopen(request, timeout=60) as answer:
        return dict(json.load(answer))


def test_the_served_vectors_are_those_of_sentence_transformers(folder: Path, address: str) -> None:
    from sentence_transformers import SentenceTransformer

    texts = tiny.text_lines("aa", 3)
    model = SentenceTransformer(str(folder), device="cpu")
    expected = model.encode(texts)
    assert np.abs(expected - model.encode(texts, prompt="")).max() > 1e-3  # so the default prompt has its effect
    answer = ask(address, texts)
    assert [each["index"] for each in answer["data"]] == [0, 1, 2]
    assert answer["model"] == "ours"
    assert np.abs(np.array([each["embedding"] for each in answer["data"]]) - expected).max() < 1e-6
    assert np.abs(np.array(ask(address, texts[0])["data"][0]["embedding"]) - expected[0]).max() < 1e-6
    with pytest.raises(HTTPError, match="422"):
        ask(address, {"no": "text"})  # type: ignore[arg-type]
    assert not list(folder.parent.glob("client*.py"))
