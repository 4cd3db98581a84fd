"""Source series under new UIDs, moved dates and pseudonyms, so that a derived series of them is de-identified, too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from pydicom.dataset import Dataset

from medtrans.scans.deidentify.headers import Deidentifier
from medtrans.scans.deidentify.key import Whose
from medtrans.scans.deidentify.suspicions import face
from medtrans.scans.deidentify.volumes import deidentify_tags, refuse_copies
from medtrans.scans.derived.sources import SourceSeries
from medtrans.scans.export.headers import ScanFile
from medtrans.scans.series.naming import images_hash
from medtrans.scans.series.planning import owners


def deidentified_sources(
    sources: Sequence[SourceSeries], files: Sequence[ScanFile], rules: Deidentifier
) -> list[SourceSeries]:
    """The ``sources``, of which tags and headers are de-identified; what ``files`` say is changed in place.

    They are found by the images that either conversion recorded, with this key or without any.

    Raises:
        InputError: the sources are copies that this key was used for already.
    """
    refuse_copies((source.first.file for source in sources), rules.key)
    pairs = {id(file): pair for file, pair in zip(files, owners(files), strict=True)}
    whose = rules.key.owners(pairs[id(source.first.file)] for source in sources)
    owned = [whose[pairs[id(source.first.file)]] for source in sources]
    faces = [bool(face([frame.file for frame in source.frames])) for source in sources]
    deidentify_tags(files, rules.key)
    return [
        replace(source, images=images_hash(source.hashed), known_as=source.images, prepared=_preparing(rules, *own))
        for source, own in zip(sources, zip(owned, faces, strict=True), strict=True)
    ]


def _preparing(rules: Deidentifier, whose: Whose, faced: bool) -> Callable[[Dataset], Dataset]:
    def prepared(header: Dataset) -> Dataset:
        header = rules.header(header, whose)
        if faced:
            header.RecognizableVisualFeatures = "YES"
        return header

    return prepared
