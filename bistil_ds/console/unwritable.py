"""Tell errors of a place that is full or cannot be used from errors in a program."""

from __future__ import annotations

import errno
import os
import re

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}  # the disk, the user's part of it or the file cannot grow
CLOSED = {errno.EROFS, errno.EACCES, errno.EPERM}  # nobody, or not this user, may
NO_FOLDER = "No usable temporary directory"  # Python's words where every folder for temporary files is full or missing
# The writers of weights raise errors of their own: safetensors with the number of the system's error, torch with this.
NUMBER, TORCH = re.compile(r"\(os error (\d+)\)"), "iostream error"


def unwritable(error: BaseException) -> str | None:
    """Return in one line which place is full, closed or has too long a name; None for an error of another kind.

    Errors that this one was raised from, or while handling, count too, as in a traceback: `from None` hides them.
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
