"""Hold the results of an evaluation: scores by model and language, averages, and differences to the reference."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from bistil_ds.evaluation.bootstrap import CONFIDENCE, Bootstrap, Estimate
from bistil_ds.evaluation.plan import Plan


@dataclass(frozen=True)
class Cell:
    """The results of one model in one language.

    Attributes:
        counts_NC: `Task.counts` of each example: float64, N examples, C counts.
        seconds: wall time of answering all examples.
    """

    counts_NC: np.ndarray
    seconds: float

    @property
    def examples_per_second(self) -> float:
        """Return the examples that the model answered per second; loading and tokenising are not included.

        Other programs on the machine lower this speed.
        """
        return len(self.counts_NC) / self.seconds


@dataclass
class Evaluation:
    """The results of an evaluation, in `cells[model][language]`.

    Cells are filled one by one. Once all are filled, `estimate` adds intervals, averages and differences. Scores are
    shares between 0 and 1. `language=None` means the macro average over the languages.
    """

    plan: Plan
    device: str
    batch_size: int
    resamples: int
    seed: int
    cells: dict[str, dict[str, Cell]] = field(default_factory=dict)
    _bootstrap: Bootstrap | None = field(default=None, repr=False)

    @property
    def finished(self) -> bool:
        """Return whether `estimate` has run. It needs every model's results in every language."""
        return self._bootstrap is not None

    @property
    def models(self) -> list[str]:
        """Return the names of the models, in the order in which they were given."""
        return [candidate.choice.name for candidate in self.plan.models]

    @property
    def languages(self) -> list[str]:
        """Return the languages, in the order in which they were given."""
        return [held.language for held in self.plan.test_sets]

    @property
    def metrics(self) -> list[str]:
        """Return the names of the task's metrics, the main one first; [] before a cell is filled."""
        some = next((cell for cells in self.cells.values() for cell in cells.values()), None)
        names = self.plan.task.metrics(some.counts_NC.sum(0)) if some else {}
        return sorted(names, key=lambda name: name != self.plan.task.metric)

    def estimate(self) -> None:
        """Compute the confidence intervals; every cell must be filled."""
        counts = {m: {language: self.cells[m][language].counts_NC for language in self.languages} for m in self.models}
        self._bootstrap = Bootstrap(counts, self.plan.task.metrics, resamples=self.resamples, seed=self.seed)

    def score(self, metric: str, model: str, language: str | None = None) -> Estimate | None:
        """Return a model's score in a language, or None if the model has not been run in it.

        Before `estimate` has run, the score has no interval, and the macro average is None.
        """
        if self._bootstrap is not None:
            return self._bootstrap.score(metric, model, language)
        cell = self.cells.get(model, {}).get(language or "")
        return Estimate(self.plan.task.metrics(cell.counts_NC.sum(0))[metric]) if cell else None

    def difference(self, metric: str, model: str, language: str | None = None) -> Estimate | None:
        """Return the model's score minus the reference's, with a paired interval.

        The result is None for the reference itself, and before `estimate` has run.
        """
        reference = self.plan.reference
        if self._bootstrap is None or reference in (None, model):
            return None
        assert reference is not None
        return self._bootstrap.difference(metric, model, reference, language)

    def examples_per_second(self, model: str) -> float | None:
        """Return the model's speed over all languages in which it has been run; None if there are none."""
        cells = self.cells.get(model, {}).values()
        return sum(len(cell.counts_NC) for cell in cells) / sum(cell.seconds for cell in cells) if cells else None

    def as_json(self) -> dict[str, Any]:
        """Return everything but the examples, ready for JSON."""
        return {
            "finished": self.finished,
            "task": self.plan.task.name,
            "metric": self.plan.task.metric,
            "reference": self.plan.reference,
            "device": self.device,
            "batch_size": self.batch_size,
            "bootstrap": {"resamples": self.resamples, "seed": self.seed, "confidence": CONFIDENCE},
            "train_files": list(self.plan.train_files),
            "label_map": dict(self.plan.label_map),
            "test_sets": {
                held.language: {
                    "source": held.source,
                    "sha256": held.sha256,
                    "examples": len(held.examples),
                    "examples_in_source": held.in_source,
                    "seen_in_training": held.seen_in_training,
                }
                for held in self.plan.test_sets
            },
            "models": {candidate.choice.name: self._model(candidate) for candidate in self.plan.models},
        }

    def _model(self, candidate: Any) -> dict[str, Any]:
        facts = asdict(candidate)
        choice = facts.pop("choice")
        name = choice.pop("name")
        languages = {
            language: {
                **self._estimates(name, language),
                "counts": cell.counts_NC.sum(0).tolist(),
                "seconds": cell.seconds,
                "examples_per_second": cell.examples_per_second,
            }
            for language, cell in self.cells.get(name, {}).items()
        }
        speed = {"examples_per_second": self.examples_per_second(name)}
        return {**choice, **facts, **speed, "languages": languages, "macro_average": self._estimates(name, None)}

    def _estimates(self, model: str, language: str | None) -> dict[str, Any]:
        kinds = {"score": self.score, "difference_to_reference": self.difference}
        found = {kind: {name: of(name, model, language) for name in self.metrics} for kind, of in kinds.items()}
        return {
            kind: {name: asdict(each) for name, each in values.items() if each is not None}
            for kind, values in found.items()
        }
