"""The command of each script here: all its pictures, drawn into one folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer


def run(*draws: Callable[[Path], None]) -> None:
    """Draw each into the folder that the command line names."""

    def main(folder: Annotated[Path, typer.Argument(help="Folder for the pictures.")]) -> None:
        """Draw all pictures."""
        folder.mkdir(parents=True, exist_ok=True)
        for draw in draws:
            draw(folder)

    typer.run(main)
