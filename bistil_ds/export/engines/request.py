"""What a user asks for: engines, int8, and the files for calibration and for scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bistil_ds.errors import InputError
from bistil_ds.models.engines.packages import require_packages
from bistil_ds.tasks.sources import parse_sources

CALIBRATION, DEV = "--calibration_file", "--dev_file"
MAX_LOSS = 1.0


@dataclass(frozen=True)
class EngineRequest:
    """The engines for which files are written beside a model.

    Attributes:
        onnx, openvino: write the model for ONNX Runtime, for OpenVINO.
        int8: write an int8 version, too, for each of these engines.
        calibration_files: files or hub data sets with texts from which the ranges of activations are measured.
        dev_files: language → labelled file or hub data set on which all files are scored.
        max_loss: how many points of the task's metric a file may lose in any language; one that loses more is refused.
    """

    onnx: bool = False
    openvino: bool = False
    int8: bool = False
    calibration_files: Sequence[str] = ()
    dev_files: Mapping[str, str] = field(default_factory=dict)
    max_loss: float = MAX_LOSS

    def __bool__(self) -> bool:
        """Return whether a file for an engine is asked for."""
        return self.onnx or self.openvino

    def check(self) -> None:
        """Raise InputError if parts of the request contradict each other, or if a package is not installed."""
        if not self:
            for given, flag, what in (
                (self.int8, "--int8", "needs an engine"),
                (self.dev_files, DEV, "scores the files of engines"),
            ):
                if given:
                    raise InputError(f"{flag}: {what}; add --onnx or --openvino")
        if self.calibration_files and not self.int8:
            raise InputError(f"{CALIBRATION}: only int8 models are calibrated; add --int8")
        if self.int8 and self.openvino and not self.calibration_files:
            raise InputError(f"--int8: OpenVINO's int8 model is calibrated on texts; add {CALIBRATION}")
        if not self.max_loss >= 0:  # written so that NaN fails, too
            raise InputError(f"--max_loss {self.max_loss}: expected points, 0 or more; inf accepts any loss")
        if self.onnx:
            require_packages("onnx", "--onnx")
        if self.openvino:
            require_packages("openvino", "--openvino")


def parse_calibration_files(words: Sequence[str] | None) -> list[str]:
    """Return the files or hub data sets that the words of --calibration_file, each `[LANGUAGE=]FILE`, name."""
    return [source for _, source in parse_sources(words or (), CALIBRATION)]


def parse_dev_files(words: Sequence[str] | None) -> dict[str, str]:
    """Return language → file or hub data set for the words of --dev_file, each `[LANGUAGE=]FILE`.

    Raises:
        InputError: `parse_sources` refuses a word, or two words name the same language.
    """
    found: dict[str, str] = {}
    for language, source in parse_sources(words or (), DEV):
        if found.setdefault(language, source) != source:
            raise InputError(f"{DEV} {source}: several are called {language}; name it otherwise, as in NAME={source}")
    return found
