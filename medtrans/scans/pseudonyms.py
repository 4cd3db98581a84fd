"""Names for patients, studies and series that are not theirs, and stay the same when an export is converted again."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from medtrans.errors import InputError
from medtrans.files import written_whole


class Pseudonyms:
    """Names handed out for identifiers, remembered as salted hashes.

    The hashes lie in ``.pseudonyms.json`` in the output folder. With the salt beside them they can be tried against a
    list of patient IDs, so the file is for the one who converted: delete it before passing the folder on.

    Args:
        folder: where the file lies, or will.
        keep_identifiers: give identifiers themselves, made fit for file names, instead of numbers.
    """

    def __init__(self, folder: Path, keep_identifiers: bool = False) -> None:
        self.path, self.keep_identifiers = folder / ".pseudonyms.json", keep_identifiers
        self.salt, self.names = secrets.token_hex(16), {}
        if self.path.exists():
            try:
                stored = json.loads(self.path.read_text(encoding="utf-8"))
                self.salt, self.names = str(stored["salt"]), dict(stored["names"])
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(self.path, "is damaged", "Convert into a new folder") from error

    def number(self, scope: str, identifiers: Iterable[str], form: str) -> dict[str, str]:
        """A name for every identifier; ones not seen before get the next numbers, in the order of their hashes.

        Args:
            scope: within which names must differ, such as ``patient`` or the name of a patient.
            identifiers: what to name.
            form: of the names, such as ``patient-{:03d}``.
        """
        keys = {identifier: self._key(scope, identifier) for identifier in identifiers}
        taken = sum(key.startswith(f"{scope}:") for key in self.names)
        for identifier in sorted(keys, key=lambda text: _digest(text)):
            if keys[identifier] not in self.names:
                taken += 1
                self.names[keys[identifier]] = form.format(taken)
        given = {identifier: self.names[key] for identifier, key in keys.items()}
        if not self.keep_identifiers:
            return given
        fit = Counter(fit_for_file(identifier).lower() for identifier in given)
        return {
            identifier: own if (own := fit_for_file(identifier)) and fit[own.lower()] == 1 else f"{own}{name}"
            for identifier, name in given.items()
        }

    def unique(self, scope: str, identifier: str, wanted: str) -> str:
        """``wanted``, or with ``-2``, ``-3``, ... behind it when another identifier of ``scope`` has it already."""
        key = self._key(scope, identifier)
        if key not in self.names:
            used = {name for other, name in self.names.items() if other.startswith(f"{scope}:")}
            name, count = wanted, 1
            while name in used:
                count += 1
                name = f"{wanted}-{count}"
            self.names[key] = name
        return self.names[key]

    def save(self) -> None:
        """Write the file, readable by its owner only."""
        with written_whole(self.path) as temporary:
            text = json.dumps({"salt": self.salt, "names": self.names}, indent=1)
            with os.fdopen(os.open(temporary, os.O_CREAT | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
                file.write(text)

    def _key(self, scope: str, identifier: str) -> str:
        return f"{scope}:{_digest(f'{self.salt}:{identifier}')[:32]}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()  # file names may not be Unicode


def fit_for_file(text: str) -> str:
    """``text`` with all but letters, digits, dot, dash and underscore replaced, and never a hidden or parent folder."""
    return re.sub(r"[^\w.-]+", "_", text, flags=re.UNICODE).strip("._ ")[:100]
