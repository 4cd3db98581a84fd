"""The page behind the server's address: its models, trainers and studies, without a script from anywhere."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader


def start_page(info: dict[str, Any]) -> str:
    """HTML of what ``GET /info/`` tells."""
    environment = Environment(loader=PackageLoader("medtrans.label", "."), autoescape=True)
    return environment.get_template("start_page.html.j2").render(info=info)
