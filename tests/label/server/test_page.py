"""The commands of docs/monai-label.md run as they stand, but for the port."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs/monai-label.md"
BASH = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DICOMWEB = "http://127.0.0.1:8042/dicom-web"


@pytest.fixture(scope="module")
def place(tiny_bundles, studies, tmp_path_factory):
    """A folder with what the page takes as given."""
    folder = tmp_path_factory.mktemp("page")
    shutil.copytree(tiny_bundles / "bundles", folder / "bundles")
    shutil.copytree(studies, folder / "STUDIES", ignore=shutil.ignore_patterns("labels", "datastore*", ".lock"))
    shutil.copy(studies / "one.nii.gz", folder / "SCAN.nii.gz")
    for number, name in enumerate(("ONE", "TWO")):
        volume = tiny_bundles / f"heads/head-000{number}/T2.nii"
        subprocess.run(f"gzip -c {volume} > TARGET_{name}.nii.gz", shell=True, cwd=folder, check=True)
    return folder


@pytest.fixture(scope="module")
def pacs(request, write_mr_series, tmp_path_factory):
    """Address of a PACS and the UID of the series in it; nothing where none can be started."""
    from importlib.util import find_spec

    if not find_spec("dicomweb_client") or not shutil.which("Orthanc"):
        return None
    from dicomweb_client import DICOMwebClient
    from pydicom import dcmread

    orthanc = request.getfixturevalue("start_orthanc")()
    folder = tmp_path_factory.mktemp("export")
    write_mr_series(folder / "series", (12, 40, 36))
    images = [dcmread(path) for path in (folder / "series").iterdir()]
    DICOMwebClient(orthanc.url).store_instances(images)
    return orthanc.url, str(images[0].SeriesInstanceUID)


@pytest.mark.slow
def test_every_command_of_the_page_runs(start, launch, free_port, place, pacs, tmp_path):
    server, ran = None, 0
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for command in [line for block in BASH.findall(PAGE.read_text()) for line in block.splitlines()]:
        words = shlex.split(command)
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
        elif words[0] == "source":
            assert words[1].removesuffix("/bin/activate") in (ROOT / "Makefile").read_text()
        elif words[:2] == ["medtrans", "label"]:
            if server is not None:
                server.stop()
            server = None if words[2] == DICOMWEB and pacs is None else started(start, words[2:], place, pacs)
        elif words[0] == "export":
            name, value = command.removeprefix("export ").split("=", 1)
            said = subprocess.run(["bash", "-c", f"echo {value}"], cwd=place, env=environment, capture_output=True)
            environment[name] = said.stdout.decode().strip()
        elif words[:2] == ["monailabel", "start_server"]:
            server.stop()
            options, port = words[1:], free_port()
            options[options.index("--port") + 1] = str(port)
            server = launch(["-m", "monailabel.main", *options], port, tmp_path, place, environment=environment)
        elif "$SERIES" in command and pacs is None:
            continue
        else:
            command = command.replace("http://127.0.0.1:8000", server.url if server else "")
            known = environment | ({"SERIES": pacs[1]} if pacs else {})
            done = subprocess.run(
                ["bash", "-euc", command], cwd=place, env=known, capture_output=True, text=True, timeout=300
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}\n{server and server.log.read_text()}"
            ran += 1
    assert ran >= 10


def started(start, words, place, pacs):
    """The server of a command of the page."""
    studies, *options = words
    if "--bundles" in options:
        where = options.index("--bundles")
        bundles = options[where + 1]
        del options[where : where + 2]
    else:
        bundles = ""
    return start(pacs[0] if studies == DICOMWEB else studies, *options, bundles=bundles, folder=place)
