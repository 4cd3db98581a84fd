"""A named pipe in an export is listed; opening it would wait for a writer that never comes."""

import os

import pytest

from medtrans.scans.export.finding import scan_file


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_pipe_is_listed_and_never_opened(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    keeper = os.open(pipe, os.O_RDWR)  # were it opened, it would read this instead of waiting for ever
    try:
        os.write(keeper, b"\0" * 4096)
        assert scan_file(pipe).problem == "a pipe or device, no file"
    finally:
        os.close(keeper)
