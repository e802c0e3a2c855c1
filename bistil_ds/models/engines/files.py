"""Names of the files in which engines store a model, and what belongs to such a file."""

from __future__ import annotations

from pathlib import Path

ONNX_FILE = "model.onnx"
ONNX_INT8_FILE = "model_int8.onnx"
OPENVINO_FILE = "openvino_model.xml"
OPENVINO_INT8_FILE = "openvino_model_int8.xml"


EXTRA_OF = {".onnx": "onnx", ".xml": "openvino"}  # ending of a model's file → the extra that brings its engine


def is_engine_file(path: str) -> bool:
    """Return whether a path is that of a model's file for an engine, and not of a folder."""
    return Path(path).suffix in EXTRA_OF and not Path(path).is_dir()


def parts_of(file: Path) -> list[Path]:
    """Return the files that hold a model: `file` and, if it is there, the file with the weights beside it."""
    weights = file.with_suffix(".bin") if file.suffix == ".xml" else file.with_name(f"{file.name}.data")
    return [path for path in (file, weights) if path.is_file()]


def bytes_of(file: Path) -> int:
    """Return the size of a model's files together, in bytes."""
    return sum(path.stat().st_size for path in parts_of(file))


def remove(file: Path) -> None:
    """Delete a model's files, as far as they exist."""
    for path in parts_of(file):
        path.unlink()
