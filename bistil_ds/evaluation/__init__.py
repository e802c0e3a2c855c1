"""Zero-shot evaluation: many models and languages at once, with confidence intervals."""

from bistil_ds.evaluation.result import Evaluation
from bistil_ds.evaluation.zero_shot import evaluate

__all__ = ["Evaluation", "evaluate"]
