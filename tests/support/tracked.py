"""Read back what wandb wrote offline and what mlflow wrote to its database."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FILE_HEADER, BLOCK, RECORD_HEADER = 7, 32 * 1024, 7  # bytes; the layout of LevelDB's log, after a header of wandb's own


@dataclass
class Tracked:
    """One tracked run: its names and, for each metric, the values in order."""

    name: str = ""
    group: str = ""
    project: str = ""
    metrics: dict[str, list[float]] = field(default_factory=dict)


def wandb_runs(folder: Path) -> list[Tracked]:
    """Return the offline runs below `folder`, the oldest first."""
    files = sorted(folder.glob("wandb/offline-run-*/run-*.wandb"), key=lambda path: path.stat().st_mtime_ns)
    return [_wandb_run(path) for path in files]


def _wandb_run(path: Path) -> Tracked:
    from wandb.proto.wandb_internal_pb2 import Record

    found = Tracked()
    for blob in _records(path.read_bytes()):
        record: Any = Record()
        record.ParseFromString(blob)
        if record.HasField("run"):
            found.name, found.group = record.run.display_name, record.run.run_group
            found.project = record.run.project
        for item in record.history.item:
            name = item.key or "/".join(item.nested_key)
            value = json.loads(item.value_json)
            if isinstance(value, (int, float)) and not name.startswith("_"):
                found.metrics.setdefault(name, []).append(value)
    return found


def _records(content: bytes) -> Iterator[bytes]:
    """Yield the records of a log; a record may be cut into pieces (types 2, 3 … 4), and blocks end in padding."""
    place, pieces = FILE_HEADER, b""
    while place + RECORD_HEADER <= len(content):
        left = BLOCK - place % BLOCK
        if left < RECORD_HEADER:
            place += left
            continue
        _, length, kind = struct.unpack_from("<IHB", content, place)
        pieces += content[place + RECORD_HEADER : place + RECORD_HEADER + length]
        place += RECORD_HEADER + length
        if kind in (1, 4):  # whole, or the last piece
            yield pieces
            pieces = b""


def mlflow_runs(uri: str, experiment: str) -> list[Tracked]:
    """Return the finished runs of an experiment, the oldest first."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    found = client.get_experiment_by_name(experiment)
    assert found is not None, [each.name for each in client.search_experiments()]
    runs = []
    for run in client.search_runs([found.experiment_id], order_by=["attributes.start_time"]):
        assert run.info.status == "FINISHED"
        histories = {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
        metrics = {
            name: [one.value for one in sorted(values, key=lambda one: one.step)] for name, values in histories.items()
        }
        runs.append(Tracked(run.info.run_name, "", found.name, metrics))
    return runs
