"""What a bundle's config asks of its surroundings: where it lies, and whether its keys are spelt right."""

from __future__ import annotations


def bundle_root(default: str = ".") -> str:
    """Placeholder until the engine lands."""
    return default


def check_configuration() -> None:
    """Placeholder until the engine lands."""
