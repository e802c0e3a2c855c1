"""Hold the results of an evaluation: scores by model and language, averages, and differences to the reference."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from bistil_ds.evaluation.bootstrap import CONFIDENCE, Bootstrap, Estimate
from bistil_ds.evaluation.held_out import Cell, HeldOut
from bistil_ds.evaluation.plan import Plan


@dataclass
class Evaluation:
    """The results of an evaluation, in `cells[model][language]`.

    Cells are filled one by one. Once all are filled, `estimate` adds intervals, averages and differences. Scores are
    shares between 0 and 1, or correlations. `language=None` means the macro average over the languages that have the
    metric. With `keep_resamples`, the JSON form holds the main metric in each resample too.
    """

    plan: Plan
    device: str
    batch_size: int
    resamples: int
    seed: int
    keep_resamples: bool = False
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
        """Return the names of all metrics, the main ones of the test sets first; [] before a cell is filled."""
        found = [name for held in self.plan.test_sets for name in self.metrics_in(held)]
        mains = {held.metric for held in self.plan.test_sets}
        return sorted(dict.fromkeys(found), key=lambda name: name not in mains)

    def metrics_in(self, held: HeldOut) -> list[str]:
        """Return the names of the metrics that some model has on a test set."""
        values = [self._values(held, cells[held.language]) for cells in self.cells.values() if held.language in cells]
        return [name for name in (values[0] if values else ()) if any(not math.isnan(each[name]) for each in values)]

    def estimate(self) -> None:
        """Compute the confidence intervals; every cell must be filled."""
        counts = {m: {language: self.cells[m][language].counts_NC for language in self.languages} for m in self.models}
        statistics = {held.language: held.statistics for held in self.plan.test_sets}
        self._bootstrap = Bootstrap(counts, statistics, resamples=self.resamples, seed=self.seed)

    def score(self, metric: str, model: str, language: str | None = None) -> Estimate | None:
        """Return a model's score in a language, or None if the model has not been run in it or lacks the metric.

        Before `estimate` has run, the score has no interval, and the macro average is None.
        """
        if self._bootstrap is not None:
            return self._bootstrap.score(metric, model, language)
        held = next((held for held in self.plan.test_sets if held.language == language), None)
        cell = self.cells.get(model, {}).get(language or "")
        value = self._values(held, cell).get(metric, math.nan) if held and cell else math.nan
        return None if math.isnan(value) else Estimate(value)

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
        return sum(cell.inputs for cell in cells) / sum(cell.seconds for cell in cells) if cells else None

    def as_json(self) -> dict[str, Any]:
        """Return everything but the examples, ready for JSON."""
        return {
            "finished": self.finished,
            "task": self.plan.task.name,
            "metric": self.plan.test_sets[0].metric,
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
                    "metric": held.metric,
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
                **self._resampled(name, language),
                "counts": [None if math.isnan(count) else count for count in cell.counts_NC.sum(0).tolist()],
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

    def _resampled(self, model: str, language: str) -> dict[str, list[float]]:
        if not self.keep_resamples or self._bootstrap is None:
            return {}
        metric = next(held.metric for held in self.plan.test_sets if held.language == language)
        return {"resampled": self._bootstrap.resampled(metric, model, language).round(6).tolist()}

    def _values(self, held: HeldOut, cell: Cell) -> dict[str, float]:
        """Return metric → its value on all examples; NaN for a metric that the model does not have."""
        found = held.statistics(cell.counts_NC, np.ones((1, len(cell.counts_NC))))
        return {metric: float(values_R[0]) for metric, values_R in found.items()}
