"""Thresholds as the command line gives them: a JSON file, and ``check#threshold=value`` over it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medtrans.cohorts.recipe_file import override
from medtrans.errors import InputError

EXAMPLE = 'Write for example {"alignment": {"error_mm": 4}}'


def read_settings(file: Path | None, given: Sequence[str]) -> dict[str, Any]:
    """One dictionary for :func:`medtrans.cohorts.doctor.checks.create`.

    Raises:
        InputError: the file is absent or no JSON object, or a setting has no ``=``.
    """
    content: Any = {}
    if file is not None:
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(file, f"cannot be read ({error.strerror})", "Check the path") from error
        except ValueError as error:
            raise InputError(file, f"is no JSON ({error})", EXAMPLE) from error
        if not isinstance(content, dict):
            raise InputError(file, "is no JSON object", EXAMPLE)
    return {**content, **dict(override(text) for text in given)}
