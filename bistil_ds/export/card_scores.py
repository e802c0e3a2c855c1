"""Read the scores of a model card from a result of `evaluate.py` for exactly the exported weights."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bistil_ds.errors import InputError

DataFile = tuple[str, str | None]  # the name of a file or hub data set, and the SHA-256 of a file


@dataclass(frozen=True)
class Score:
    """A metric on a test set; `low` and `high` bound its confidence interval."""

    language: str
    test_set: DataFile
    examples: int | None
    seen_in_training: float | None
    metric: str
    value: float
    low: float | None
    high: float | None


def read_scores(file: str, weights_sha256: str) -> list[Score]:
    """Return the scores that `evaluate.py` found for the model with these weights; in a language, main metric first.

    Raises:
        InputError: the file is not a result of `evaluate.py`, or holds no model with these weights.
    """
    content = read_json(Path(file))
    try:
        models, test_sets, metric = content["models"], content["test_sets"], content["metric"]
        mine = next((model for model in models.values() if model["weights_sha256"] == weights_sha256), None)
        if mine is None:
            raise InputError(
                f"--scores {file}: is of models with other weights ({', '.join(models)}); evaluate the one you export"
            )
        found = []
        for language, result in mine["languages"].items():
            test_set = test_sets[language]
            estimates = result["score"]
            for name in sorted(estimates, key=lambda name: name != metric):
                each = estimates[name]
                found.append(
                    Score(
                        language,
                        data_file(test_set["source"], test_set["sha256"]),
                        test_set["examples"],
                        test_set["seen_in_training"],
                        name,
                        float(each["value"]),
                        each["low"],
                        each["high"],
                    )
                )
        return found
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"--scores {file}: expected the evaluation.json that evaluate.py writes ({error!r})") from None


def data_file(source: str, sha256: str | None) -> DataFile:
    """Return (a file's name without its folder, its hash), or (a hub data set's id, None)."""
    return (Path(source).name if sha256 else source), sha256


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file; {} if there is no file or it holds no JSON object."""
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
