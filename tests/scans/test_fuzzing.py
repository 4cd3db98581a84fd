import ast
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("fuzzing")


@pytest.mark.slow
def test_damaged_files_are_refused_or_read_right():
    """A part of what ``python tests/scans/fuzzing`` does; the whole run takes minutes."""
    command = [sys.executable, PROGRAM, "--files", "700", "--seed", "1"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert result.returncode == 0, result.stdout
    assert "700 damaged files" in result.stdout
    for verdict in ("refused", "right", "right without the damaged file"):
        assert verdict in result.stdout


def test_the_fuzzer_tells_a_wrong_volume(tmp_path):
    """What a reader with a fault would give must not pass: shifted, flipped, unscaled volumes."""
    code = f"""
import sys; sys.path.insert(0, {str(PROGRAM)!r})
from pathlib import Path
from healthy import dicom_bases
from truth import WrongVolumeError, check_dicom
from medtrans.scans import read_series
base = next(path for path in dicom_bases(Path({str(tmp_path)!r})) if path.name == "ct")
def told(change):
    [volume] = read_series(base)
    change(volume)
    try:
        check_dicom(volume)
    except WrongVolumeError as error:
        return str(error)
    return "right"
def shift(volume): volume.affine[0, 3] += 0.5
def flip(volume): volume.array[:] = volume.array[::-1].copy()
def rescale(volume): volume.array += 1024
def stretch(volume): volume.affine[2, 2] *= 1.1
print([told(change) for change in (lambda volume: None, shift, flip, rescale, stretch)])
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    verdicts = ast.literal_eval(told)
    assert verdicts[0] == "right"
    assert "right" not in verdicts[1:]
