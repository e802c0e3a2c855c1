"""Student building: layer selection, width reduction, and checks of a student that the user brings."""

from bistil_ds.models.families import SUPPORTED_MODEL_TYPES
from bistil_ds.student.build import Built, build_student
from bistil_ds.student.check import check_student
from bistil_ds.student.layer_map import choose_layers
from bistil_ds.student.projections import load_projections, save_projections

__all__ = [
    "SUPPORTED_MODEL_TYPES",
    "Built",
    "build_student",
    "check_student",
    "choose_layers",
    "load_projections",
    "save_projections",
]
