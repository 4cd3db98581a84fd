"""Files of weights: tensors and plain values are read, code never runs, a recorded file must be that very file."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import torch

from medtrans.errors import InputError
from medtrans.files import file_hash

RECORD = "modalities.json"  # beside the weights; its "weights" say file name -> SHA-256
NAMED = re.compile(r"GLOBAL ([\w.]+)")


def read_weights(path: str | os.PathLike[str], mapped: bool = False) -> Any:
    """Read a file of tensors and plain values onto the CPU.

    Args:
        path: what ``torch.save`` wrote.
        mapped: leave tensors on the disk until they are looked at.

    Raises:
        InputError: there is no such file, it cannot be read, reading it would run code, or it is not the file that
            :func:`check_recorded` knows.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(path, "does not exist", "Train the bundle first, or give the right path")
    check_recorded(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped or None)
    except Exception as error:  # a damaged or foreign file fails in many ways
        if code := _code_in(path, error):
            remedy = "Get the weights again, as tensors alone, from whom you trust"
            raise InputError(path, f"holds code ({code}) that reading it would run; it was not run", remedy) from error
        raise InputError(
            path, f"is damaged or not a checkpoint ({_reason(error)})", "Restore a copy, or delete it"
        ) from error


def check_recorded(path: str | os.PathLike[str]) -> None:
    """Refuse weights that a packed bundle's ``modalities.json`` beside them knows by another hash.

    A training writes that file anew, without hashes: its own weights are its own business.

    Raises:
        InputError: the file was changed since the bundle was packed.
    """
    path = Path(path)
    try:
        wanted = json.loads((path.parent / RECORD).read_text(encoding="utf-8"))["weights"][path.name]
    except (OSError, ValueError, KeyError, TypeError):
        return
    if (found := file_hash(path)) != wanted:
        problem = f"was changed since the bundle was packed (SHA-256 {found[:12]}…, not {str(wanted)[:12]}…)"
        raise InputError(path, problem, "Unpack the bundle again, or ask its makers")


def _code_in(path: Path, error: Exception) -> str:
    """Names of the functions and classes that unpickling would call; empty where it would call none."""
    try:
        return ", ".join(sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path)))
    except Exception:  # not the usual layout of a checkpoint, perhaps a bare pickle
        return ", ".join(sorted(set(NAMED.findall(str(error)))))


def _reason(error: Exception) -> str:
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return "it is not what torch.save writes" if "weights_only" in first else first  # advises to read it without care
