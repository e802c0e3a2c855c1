"""Recognise errors that mean that a place is full or may not be written, not that the program is wrong."""

from __future__ import annotations

import errno
import os
import re

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}  # full: the disk, the user's quota, or the file itself
CLOSED = {errno.EROFS, errno.EACCES, errno.EPERM}  # nobody may write there, or not this user
NO_FOLDER = "No usable temporary directory"  # Python's message if no folder for temporary files can be used
# In errors from writing weights, safetensors gives the system's error number (NUMBER), torch only a text (TORCH).
NUMBER, TORCH = re.compile(r"\(os error (\d+)\)"), "iostream error"


def unwritable(error: BaseException) -> str | None:
    """Return one line that says which place is full, closed or has too long a name; None for any other error.

    The errors that led to this one (`__cause__`, `__context__`) count too, except behind a `raise … from None`.
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
