"""Zero-shot evaluation of several models in several languages, with confidence intervals."""

from bistil_ds.evaluation.result import Evaluation
from bistil_ds.evaluation.zero_shot import evaluate

__all__ = ["Evaluation", "evaluate"]
