"""The ``medtrans`` command: one thin function a subcommand, each calling the room that does the work."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from medtrans.errors import input_error_behind

app = typer.Typer(
    name="medtrans",
    help="Medical image-to-image translation on MONAI.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def options(verbose: Annotated[bool, typer.Option(help="Say more while working.")] = False) -> None:
    """Translate between imaging modalities: convert, prepare, train (monai.bundle), translate, evaluate."""
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, format="%(message)s", stream=sys.stderr)
    for noisy in ("matplotlib", "nibabel", "pydicom", "distributed", "asyncio", "PIL", "fsspec", "monai"):
        logging.getLogger(noisy).setLevel(logging.ERROR)


def main() -> None:
    """Run the command; bad input ends it with one line and exit code 2, failed cases with exit code 1."""
    try:
        app()
    except Exception as error:
        known = input_error_behind(error)
        if known is None:
            raise
        print(f"error: {known}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
