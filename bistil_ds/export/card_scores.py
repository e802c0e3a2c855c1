"""Read the scores of a model card from a result of `evaluate.py` for exactly the exported weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any

from bistil_ds.errors import InputError
from bistil_ds.runs.files import read_json

EXPECTED = "expected the evaluation.json that evaluate.py writes"

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
    """Return the scores that `evaluate.py` found for the model with these weights, the main metric first.

    Raises:
        InputError: the file is not a result of `evaluate.py`, or holds no model with these weights.
    """
    content = read_json(Path(file), EXPECTED, flag="--scores")
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
            estimates, main = result["score"], test_set.get("metric", metric)
            for name in sorted(estimates, key=lambda name: name != main):
                each = estimates[name]
                found.append(
                    Score(
                        language,
                        data_file(_checked(test_set["source"], str), _checked(test_set["sha256"], str, NoneType)),
                        _checked(test_set["examples"], int, NoneType),
                        _checked(test_set["seen_in_training"], float, int, NoneType),
                        name,
                        float(_checked(each["value"], float, int)),
                        _checked(each["low"], float, int, NoneType),
                        _checked(each["high"], float, int, NoneType),
                    )
                )
        return found
    except InputError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(f"--scores {file}: {EXPECTED} ({error!r:.200})") from None


def _checked(value: Any, *kinds: type) -> Any:
    """Return the value; raise TypeError if its type is none of `kinds`."""
    if type(value) not in kinds:
        raise TypeError(f"{value!r:.40} where {' or '.join(kind.__name__ for kind in kinds)} is expected")
    return value


def data_file(source: str, sha256: str | None) -> DataFile:
    """Return (a file's name without its folder, its hash), or (a hub data set's id, None).

    Parallel files have their names with a comma between them.
    """
    return (",".join(Path(part).name for part in source.split(",")) if sha256 else source), sha256
