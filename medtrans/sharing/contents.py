"""What of a bundle's folder goes along: licence, configs, documents and weights, and no path of this machine."""

from __future__ import annotations

import json
import re
from pathlib import Path

from medtrans.errors import InputError

ENDINGS = (".json", ".yaml", ".yml", ".conf", ".md", ".txt", ".png", ".jpg", ".svg")
PICTURES = (".png", ".jpg", ".svg")
WORDS = re.compile(r"[^\s\"'`,;()\[\]{}<>=:]+")
DRIVE = re.compile(r"(?<![A-Za-z])[A-Za-z]:\\+\w")
# where data of people lies on machines, whether on this one or not
PLACES = {"home", "Users", "mnt", "media", "data", "scratch", "gpfs", "lustre", "nfs", "net", "srv", "Volumes"}
OUTWARD = re.compile(r"\[([^\]]*)\]\((?:\.\./)+[^)]*\)")  # a link that leaves the bundle


def documents(bundle: Path) -> dict[str, bytes]:
    """Licence, configs and documents of a bundle: path in it -> content.

    Links of the documents to pages outside the bundle become plain words.

    Raises:
        InputError: it is no bundle, has no licence, or a file names a path of this machine.
    """
    for needed in ("configs/inference.json", "configs/metadata.json", "LICENSE"):
        if not (bundle / needed).is_file():
            raise InputError(bundle, f"is not a complete bundle (it has no {needed})", "Give the bundle's folder")
    found = {"LICENSE": (bundle / "LICENSE").read_bytes()}
    for folder in ("configs", "docs"):
        paths = (path for path in sorted((bundle / folder).rglob("*")) if path.is_file())
        for path in paths:
            name = path.relative_to(bundle)
            if path.suffix in ENDINGS and not any(part.startswith(".") for part in name.parts):
                found[name.as_posix()] = _content(path)
    # the copies beside configs/, which make `--config_file <bundle>/train.json` work
    return found | {
        path.name: found[f"configs/{path.name}"]
        for path in bundle.iterdir()
        if path.is_file() and f"configs/{path.name}" in found
    }


def _content(path: Path) -> bytes:
    if path.suffix in PICTURES:
        return path.read_bytes()
    text = path.read_text(encoding="utf-8")
    text = OUTWARD.sub(r"\1", text) if path.suffix == ".md" else text
    refuse_private_paths(text, path)
    return text.encode()


def refuse_private_paths(text: str, where: str | Path) -> None:
    """Raise InputError where a text names a path of this machine, which may tell of people and places."""
    for word in WORDS.findall(text):
        parts = ("/" + word.lstrip("/") if word.startswith("/") else word).split("/")
        rooted = not parts[0] and len(parts) > 2 and all(parts[1:3])
        here = rooted and (parts[1] in PLACES or Path("/", parts[1]).is_dir())
        if here or word.startswith("~/"):
            _refuse(where, word)
    if drive := DRIVE.search(text):
        _refuse(where, drive[0])


def _refuse(where: str | Path, path: str) -> None:
    raise InputError(
        where, f"names a path of this machine ({path})", "Take it out, and give it on the command line instead"
    )


def weight_files(bundle: Path) -> list[str]:
    """Names of the files that training keeps of its best epoch, the generator's ``model.pt`` first."""
    train = bundle / "configs/train.json"
    if not train.is_file():
        return ["model.pt"]
    handlers = json.loads(train.read_text(encoding="utf-8")).get("validate", {}).get("handlers", [])
    paths = [str(h.get("path")) for h in handlers if isinstance(h, dict) and "BestModel" in str(h.get("_target_"))]
    return list(dict.fromkeys(["model.pt", *re.findall(r"/([\w.-]+\.pt)\b", " ".join(paths))]))
