"""A real PACS for tests: Orthanc with its DICOMweb plugin (Debian packages orthanc, orthanc-dicomweb).

It answers this machine only, has no DICOM port, and keeps its images in a folder of the test.
"""

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
PATIENCE = 60  # seconds until it must answer


def missing():
    """Why no Orthanc can be started here, empty where it can."""
    if not shutil.which("Orthanc"):
        return "the Debian package orthanc is not here"
    return "" if PLUGIN.is_file() else "the Debian package orthanc-dicomweb is not here"


def free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


class Orthanc:
    """A server on a free port until ``stop``; ``users`` are names with passwords, everybody is let in without."""

    def __init__(self, folder, users=None, **configuration):
        self.folder, self.port, self.users = Path(folder), free_port(), users or {}
        self.rest = f"http://127.0.0.1:{self.port}"
        self.url = f"{self.rest}/dicom-web"
        settings = {
            "StorageDirectory": "storage",  # from its configuration's folder
            "IndexDirectory": "storage",
            "HttpPort": self.port,
            "DicomServerEnabled": False,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": bool(users),
            "RegisteredUsers": self.users,
            "Plugins": [str(PLUGIN)],
        }
        (self.folder / "orthanc.json").write_text(json.dumps(settings | configuration))
        self.log = (self.folder / "orthanc.log").open("wb")
        words = ["Orthanc", "orthanc.json"]
        self.process = subprocess.Popen(words, cwd=self.folder, stdout=self.log, stderr=self.log)
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise

    def _wait(self):
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and self.process.poll() is None:
            try:
                self._ask("/system")
                return
            except urllib.error.HTTPError as error:
                if error.code == 401:
                    return
            except OSError:
                pass
            time.sleep(0.1)
        raise RuntimeError(f"Orthanc did not start:\n{(self.folder / 'log.txt').read_text()[-2000:]}")

    def _ask(self, path, method="GET"):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        return opener.open(urllib.request.Request(self.rest + path, method=method), timeout=10).read()

    def empty(self):
        """Remove all images."""
        for patient in json.loads(self._ask("/patients")):
            self._ask(f"/patients/{patient}", "DELETE")

    def file_bytes(self):
        """The files of all images, as it keeps them."""
        return [self._ask(f"/instances/{name}/file") for name in json.loads(self._ask("/instances"))]

    def stop(self):
        self.process.kill()  # it would take seconds to close a database that nobody needs any more
        self.process.wait()
        self.log.close()
