"""Names for patients, studies and series that are not theirs, and stay the same when an export is converted again."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

from medtrans.errors import InputError
from medtrans.files import written_whole

NUMBERED = re.compile(r"(patient|study)-\d+")
Again = Callable[[str, int], str]
SHORTEST_SECRET = 16  # characters of a salt, below which it could be tried out
LONGEST = 80  # bytes of UTF-8 in a name made from an identifier
DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])", re.IGNORECASE)
DEVICES_WITH_SUFFIX = re.compile(rf"^{DEVICES.pattern}(\.)", re.IGNORECASE)


class Pseudonyms:
    """Names handed out for identifiers, remembered as salted hashes.

    The hashes lie in ``.pseudonyms.json`` in the output folder. With the salt beside them they can be tried against a
    list of patient IDs, so the file is for the one who converted: delete it before passing the folder on.

    Args:
        folder: where the file lies, or will.
        keep_identifiers: give identifiers themselves, made fit for file names, instead of numbers.
        kept_in: the file, where it does not lie in the folder. Numbers then follow the salted hashes, so that their
            order tells nothing to those who know all identifiers.
    """

    def __init__(self, folder: Path, keep_identifiers: bool = False, kept_in: Path | None = None) -> None:
        self.path, self.keep_identifiers = kept_in or folder / ".pseudonyms.json", keep_identifiers
        self.secret = kept_in is not None
        self.salt, self.names = secrets.token_hex(16), {}
        if self.path.exists():
            try:
                stored = json.loads(self.path.read_text(encoding="utf-8"))
                self.salt, self.names = str(stored["salt"]), dict(stored["names"])
                if self.secret and len(self.salt) < SHORTEST_SECRET:
                    raise ValueError("the salt can be guessed")
            except (OSError, ValueError, KeyError, TypeError) as error:
                remedy = "Name another file for the key" if self.secret else "Convert into a new folder"
                raise InputError(self.path, "is no key" if self.secret else "is damaged", remedy) from error
        elif not self.secret and (folder / "series.csv").exists():
            problem = "holds an earlier conversion, but no .pseudonyms.json that says which number is whose"
            raise InputError(folder, problem, "Convert into a new folder")
        self.used: defaultdict[str, set[str]] = defaultdict(set)  # by scope, in lower case
        for key, name in self.names.items():
            self.used[key.rpartition(":")[0]].add(str(name).casefold())

    def number(self, scope: str, identifiers: Iterable[str], form: str) -> dict[str, str]:
        """A name for every identifier; ones not seen before get the next numbers, in the order of their hashes.

        Args:
            scope: within which names must differ, such as ``patient`` or the name of a patient.
            identifiers: what to name.
            form: of the names, such as ``patient-{:03d}``.
        """
        ordered = sorted(identifiers, key=self._in_order)
        if self.keep_identifiers:
            return {own: self.unique(scope, f"kept {own}", fit_for_file(own) or form.format(1)) for own in ordered}
        count = 0
        for identifier in ordered:
            key = self._key(scope, identifier)
            while key not in self.names:
                count += 1
                if form.format(count).casefold() not in self.used[scope]:
                    self._give(scope, key, form.format(count))
        return {identifier: self.names[self._key(scope, identifier)] for identifier in ordered}

    def labels(self, scope: str, given: Iterable[str]) -> dict[str, str]:
        """Letters and digits only for every name given: the number of a pseudonym, what is left of an identifier."""
        labels = {}
        for name in sorted(given):
            own = name.rpartition("-")[2] if NUMBERED.fullmatch(name) else re.sub("[^0-9A-Za-z]", "", name)
            labels[name] = self.unique(scope, name, own or "x", again="{}x{}".format)
        return labels

    def unique(
        self, scope: str, identifier: str, wanted: str, again: Callable[[str, int], str] = "{}-{}".format
    ) -> str:
        """``wanted``, or changed by ``again`` with 2, 3, ... when another identifier of ``scope`` has it already.

        Names that differ only in case count as the same: on many file systems they are.
        """
        key = self._key(scope, identifier)
        if key not in self.names:
            name, count = wanted, 1
            while name.casefold() in self.used[scope]:
                count += 1
                name = again(wanted, count)
            self._give(scope, key, name)
        return self.names[key]

    def knows(self, scope: str, identifier: str) -> bool:
        """Whether ``identifier`` has a name already."""
        return self._key(scope, identifier) in self.names

    def _give(self, scope: str, key: str, name: str) -> None:
        self.names[key] = name
        self.used[scope].add(name.casefold())

    def save(self) -> None:
        """Write the file, readable by its owner only."""
        with written_whole(self.path) as temporary:
            text = json.dumps({"salt": self.salt, "names": self.names}, indent=1)
            with os.fdopen(os.open(temporary, os.O_CREAT | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
                file.write(text)

    def _in_order(self, identifier: str) -> str:
        return _digest(f"{self.salt}:{identifier}" if self.secret else identifier)

    def _key(self, scope: str, identifier: str) -> str:
        return f"{scope}:{_digest(f'{self.salt}:{identifier}')[:32]}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()  # file names may not be Unicode


def fit_for_file(text: str) -> str:
    """``text`` as a file name on every system: letters, digits, dot, dash and underscore, at most LONGEST bytes.

    Never a hidden or parent folder, never a name that Windows keeps for devices; empty when nothing is left.
    """
    name = re.sub(r"[^\w.-]+", "_", unicodedata.normalize("NFC", text)).strip("._- ")
    name = name.encode("utf-8", "ignore")[:LONGEST].decode("utf-8", "ignore").strip("._- ")
    return f"{name}_" if DEVICES.fullmatch(name) else DEVICES_WITH_SUFFIX.sub(r"\1_\2", name)
