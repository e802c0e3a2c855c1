"""Let Triton's interpreter replace the functions of its language once for each launch.

By itself it does so again in every call of one jitted function by another, which takes half of the time of our tests.
"""

from __future__ import annotations

from typing import Any


def patch_language_once() -> None:
    """Leave out further replacements while a launch runs, in this process from now on."""
    from triton import language
    from triton.runtime import interpreter

    replace, nothing = interpreter._patch_lang, interpreter._LangPatchScope

    def replace_once(function: Any) -> Any:
        used = [each for each in (language, language.core) if any(each is x for x in function.__globals__.values())]
        is_replaced = not any(language.core.is_builtin(each.load) for each in used)
        return nothing() if is_replaced else replace(function)

    interpreter._patch_lang = replace_once
