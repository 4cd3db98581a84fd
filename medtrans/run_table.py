"""The table of a batch run: read by the next run, which keeps what is finished, and always written whole."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtrans.errors import InputError
from medtrans.files import written_whole


@dataclass(frozen=True)
class RunTable:
    """A CSV file with a row a case.

    Attributes:
        columns: of the table.
        of: what its rows are, for messages: "translated cases".
        remedy: what to do where another file has its name.
    """

    columns: Sequence[str]
    of: str
    remedy: str = "Choose another output folder"

    def read(self, path: Path) -> list[dict[str, str]]:
        """The rows of an earlier run; none where there was none.

        Raises:
            InputError: the file is another table, or none, and must not be overwritten.
        """
        if not path.is_file():
            return []
        try:
            with path.open(newline="", encoding="utf-8") as file:
                reader = csv.DictReader(file)
                if set(self.columns) <= set(reader.fieldnames or ()):
                    return list(reader)
        except (OSError, UnicodeDecodeError, csv.Error):
            pass
        raise InputError(path, f"is there already and is no table of {self.of}", self.remedy)

    def write(self, path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write all rows.

        Raises:
            InputError: the file cannot be written.
        """
        with written_whole(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
