import pickle
import signal
import subprocess
import sys
import textwrap
import tracemalloc

import pytest

from medtrans.scans import convert_export
from medtrans.scans.export import readers
from medtrans.scans.export.finding import scan_file, scan_files
from medtrans.scans.export.readers import read_all


@pytest.fixture
def mixture(make_series):
    """30 files: images, a damaged one, an empty one, text, and a name that is no Unicode."""
    series = make_series(shape=(25, 4, 4), SeriesDescription="T1 – Größe").write_all()
    (series.folder / "empty").touch()
    (series.folder / "text").write_text("hello")
    (series.folder / "cut").write_bytes((series.folder / "slice3").read_bytes()[:300])
    (series.folder / "gone").symlink_to(series.folder / "nowhere")
    (series.folder / "slice7").rename(series.folder / "M\udcfcller\udcff")
    series.write(7, "again")
    return sorted(series.folder.iterdir())


@pytest.fixture
def few(monkeypatch):
    """Processes already for a few files."""
    monkeypatch.setattr(readers, "MANY", 2)
    monkeypatch.setattr(readers, "CHUNK", 4)


def told(files):
    """Everything a scan file says, without object identities."""
    return [
        (
            f.path,
            f.format,
            f.tags,
            f.problem,
            f.failed,
            f.tiles,
            [(g.index, g.position, g.spacing, g.tags) for g in f.frames],
        )
        for f in files
    ]


def test_processes_read_what_one_thread_reads_in_order(mixture, few):
    files = scan_files(mixture, 3)
    assert len(files) == 30
    assert told(files) == told(scan_files(mixture, 1)) == told([scan_file(path) for path in mixture])
    images = [file for file in files if file.frames]
    assert all(frame.file is file and frame.tags is file.tags for file in images for frame in file.frames)
    for name in ("SeriesInstanceUID", "ImageType", "SeriesDescription", "PixelSpacing"):  # equal ones are one object
        assert len({id(file.tags[name]) for file in images}) == 1
    assert len({file.tags["SOPInstanceUID"] for file in images}) == len(images)


@pytest.mark.parametrize("executable", ["/nowhere/python", "/bin/false", "/bin/echo"])
def test_files_are_read_here_when_processes_do_not_start_or_talk_nonsense(mixture, few, monkeypatch, executable):
    monkeypatch.setattr(sys, "executable", executable)
    assert told(scan_files(mixture, 3)) == told([scan_file(path) for path in mixture])


def test_files_are_read_here_when_a_process_is_killed(mixture, few, monkeypatch):
    ask = readers._Reader.ask

    def killed(self, paths):
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
        return ask(self, paths)

    monkeypatch.setattr(readers._Reader, "ask", killed)
    assert told(scan_files(mixture, 3)) == told([scan_file(path) for path in mixture])


def test_processes_end_with_the_reading_also_when_it_stops_early(mixture, few):
    started = []
    start = readers._Reader.__init__

    def remember(self, scan):
        start(self, scan)
        started.append(self.process)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(readers._Reader, "__init__", remember)
        reading = read_all(scan_file, mixture, 3)
        next(reading)
        reading.close()
    assert len(started) == 2
    assert all(process.poll() is not None for process in started)


def test_scripts_need_no_main_guard(mixture, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(f"""
            import sys
            from medtrans.scans import convert_export
            from medtrans.scans.export import readers
            print("imported")
            readers.MANY = 2
            table = convert_export({str(mixture[0].parent)!r}, {str(tmp_path / "out")!r}, workers=2)
            print(list(table.status).count("converted"))
        """),
        encoding="utf-8",
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["imported", "1"]


def test_conversion_is_the_same_with_processes(mixture, few, tmp_path):
    one = convert_export(mixture[0].parent, tmp_path / "one", workers=1)
    assert convert_export(mixture[0].parent, tmp_path / "three", workers=3).equals(one)


def test_a_header_takes_a_few_kilobytes(make_series):
    series = make_series(shape=(60, 2, 2), SeriesDescription="x" * 64, Manufacturer="y" * 64, ProtocolName="z" * 64)
    paths = [series.write(k, EchoTime=3.3, AcquisitionTime="120000.000000") for k in range(60)]
    scan_files(paths[:2])
    tracemalloc.start()
    files = scan_files(paths)
    size = tracemalloc.get_traced_memory()[0] / len(files)
    tracemalloc.stop()
    assert size < 5000
    assert len(pickle.dumps(files)) / len(files) < 1500
