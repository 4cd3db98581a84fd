"""The key of a de-identification: one secret, from which new UIDs, date shifts and pseudonyms follow."""

from __future__ import annotations

import hashlib
import hmac
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from medtrans.errors import InputError
from medtrans.files import check_writable
from medtrans.scans.output.pseudonyms import Pseudonyms

NEAREST, FARTHEST = 31, 3680  # days that dates are moved back by


@dataclass(frozen=True)
class Whose:
    """Whose a file is.

    Attributes:
        patient: what identifies the patient in the export; never shown.
        name: the patient's pseudonym, such as ``patient-001``.
        study: the study's, within the patient.
    """

    patient: str
    name: str
    study: str = ""


def needed_key(wanted: bool, key: Path | None) -> Path | None:
    """The file of the key where de-identification is wanted.

    Raises:
        InputError: one is given without the other.
    """
    if wanted and key is None:
        raise InputError("--deidentify", "needs a key", "Name its file with --key; it is made when it is not there")
    if key is not None and not wanted:
        raise InputError("--key", "is of use with --deidentify only", "Add --deidentify")
    return key


def refuse_inside(path: Path, folder: Path) -> None:
    """Raise when a key, or who became whom, would lie in what is handed on."""
    if path.resolve().is_relative_to(folder.resolve()):
        raise InputError(path, "would lie in the output", "Keep it apart from what you hand on")


class Key:
    """A file of the user's own: who has it can repeat a de-identification, and try identifiers against the pseudonyms.

    It is made when it is not there, readable by its owner only. With the same key, the same patient, study, series or
    image gets the same name, UID and date shift in every run and every command; with another key, nothing of the two
    outputs fits together.

    Args:
        path: of the file.
        make: whether it is made when it is not there; otherwise the secret ends with the run.

    Raises:
        InputError: the file is there and is no key, or cannot be made.
    """

    def __init__(self, path: Path, make: bool = True) -> None:
        if path.is_dir():
            raise InputError(path, "is a folder", "Name a file for the key")
        self.path, self.make = path, make
        self.names = Pseudonyms(path.parent, kept_in=path)
        if make and not path.exists():
            check_writable(path.parent)
            with self.naming():
                pass

    def gave(self, name: str) -> bool:
        """Whether ``name`` is a patient's pseudonym that this key gave, and no ID of a patient that it was used for."""
        return name.casefold() in self.names.used["patient"] and not self.names.knows("patient", name)

    @contextmanager
    def naming(self) -> Iterator[Pseudonyms]:
        """The names as the file has them now; those added are saved, and no other command adds any meanwhile."""
        if not self.make:
            yield self.names
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path.with_name(f".{self.path.name}.lock")):
            if self.path.exists():
                self.names = Pseudonyms(self.path.parent, kept_in=self.path)
            yield self.names
            self.names.save()

    def digest(self, *words: str) -> bytes:
        """32 bytes that follow from ``words`` and the secret (HMAC-SHA256), and tell nothing of either."""
        text = "\0".join(words).encode("utf-8", "surrogatepass")
        return hmac.new(self.names.salt.encode(), text, hashlib.sha256).digest()

    def mark(self, *words: str) -> str:
        """The same in 16 hexadecimal digits."""
        return self.digest(*words).hex()[:16]

    def uid(self, old: str) -> str:
        """The UID that takes the place of ``old``: a UUID under 2.25 (PS3.5 B.2)."""
        return f"2.25.{uuid.UUID(bytes=self.digest('uid', old)[:16], version=5).int}"

    def days(self, patient: str) -> int:
        """By how many days the dates of a patient are moved: some months to ten years back."""
        number = int.from_bytes(self.digest("dates", patient)[:8], "big")
        return -(NEAREST + number % (FARTHEST - NEAREST))

    def owners(self, pairs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Whose]:
        """Pseudonyms for pairs of patient and study, remembered in the file."""
        pairs = {pair for pair in pairs if pair[0]}
        owners: dict[tuple[str, str], Whose] = {}
        with self.naming() as names:
            patients = names.number("patient", {patient for patient, _ in pairs}, "patient-{:03d}")
            for patient, name in patients.items():
                own = {study for other, study in pairs if other == patient}
                studies = names.number(f"study of {name}", own, "study-{:02d}")
                owners |= {(patient, study): Whose(patient, name, studies[study]) for study in own}
        return owners
