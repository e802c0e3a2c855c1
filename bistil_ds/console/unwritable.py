"""Recognise errors that come from a full disk or a place without write permission, not from a fault of the program."""

from __future__ import annotations

import errno
import os
import re

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}  # full: the disk, the user's quota, or the file itself
CLOSED = {errno.EROFS, errno.EACCES, errno.EPERM}  # read-only for everybody, or for this user
NO_FOLDER = "No usable temporary directory"  # Python's message if no folder for temporary files can be used
# Errors from writing weights: those of safetensors hold the system's error number, those of torch only a text.
NUMBER, TORCH = re.compile(r"\(os error (\d+)\)"), "iostream error"


def unwritable(error: BaseException) -> str | None:
    """Return a line that says which place is full, may not be written or has too long a name; None for other errors.

    The errors that led to this one (`__cause__`, `__context__`) are examined too, up to a `raise … from None`.
    """
    seen = list[BaseException]()
    cause: BaseException | None = error
    while cause is not None and cause not in seen:
        seen.append(cause)
        text = str(cause)
        if isinstance(cause, OSError) and cause.errno == errno.ENAMETOOLONG:
            return f"{cause.filename}: is too long for the name of a file"
        if isinstance(cause, OSError) and NO_FOLDER in text:
            return "no folder for temporary files can be written; set TMPDIR to one"
        if TORCH in text:
            return f"a file cannot be written ({text}); free some space or choose another place"
        numbered = NUMBER.search(text)
        number = cause.errno if isinstance(cause, OSError) else int(numbered[1]) if numbered else None
        if number in FULL | CLOSED:
            place = getattr(cause, "filename", None) or "a file"
            advice = "free some space" if number in FULL else "check its rights"
            return f"{place}: {os.strerror(number)}; {advice} or choose another place"
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return None
