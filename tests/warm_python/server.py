"""Forks a process that has imported PyTorch and MONAI for every command that a client sends: seconds each.

Nothing of medtrans is imported here, so that a command still imports all that it needs of it. Started by the fixture
``warm_python`` with the path of a socket and that of the client; ends when its standard input does.

For each connection a keeper is forked, and from it the process that runs the command, in a session of its own, with
the client's arguments, working directory, environment and standard streams. The keeper passes signals on, tells how the
command ended, and kills it when the client is gone.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import struct
import sys
import threading
from pathlib import Path

IMPORTED = (
    "torch",
    "torch.distributed.run",
    "torch.utils.tensorboard",
    "torchvision.models",
    "monai.bundle",
    "monai.data",
    "monai.handlers",
    "monai.networks.nets",
    "distributed",
    "finufft",
    "fire",
    "jinja2",
    "matplotlib.figure",
    "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_svg",
    "nibabel",
    "pandas",
    "pydicom",
    "scipy.ndimage",
    "scipy.stats",
    "typer",
)


def main(path: str, client: str) -> None:
    for name in IMPORTED:
        importlib.import_module(name)
    assert threading.active_count() == 1, "a process with threads cannot be forked safely"
    assert not any(name.partition(".")[0] == "medtrans" for name in sys.modules)
    gc.collect()
    gc.freeze()  # what is never collected is not written to, and stays shared
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for keepers
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    listening.listen()
    print("ready", flush=True)
    while True:
        ready, _, _ = select.select([listening, sys.stdin], [], [])
        if sys.stdin in ready:
            os._exit(0)
        connection, _ = listening.accept()
        if os.fork() == 0:
            listening.close()
            keep(connection, client)
        connection.close()


def keep(connection: socket.socket, client: str) -> None:
    """Run what the client sends, and tell it how that ended; never returns."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    job, streams = received(connection)
    child = os.fork()
    if child == 0:
        connection.close()
        run(job, streams, client)
    for stream in streams:
        os.close(stream)
    ended = os.pidfd_open(child)
    while True:
        ready, _, _ = select.select([ended, connection], [], [])
        if ended in ready:
            _, status = os.waitpid(child, 0)
            with contextlib.suppress(OSError):
                connection.sendall(struct.pack("i", os.waitstatus_to_exitcode(status)))
            os._exit(0)
        numbers = connection.recv(64)
        for number in numbers:
            os.kill(child, number)
        if not numbers:  # the client is gone
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child, signal.SIGKILL)
            os.kill(child, signal.SIGKILL)
            os._exit(0)


def received(connection: socket.socket) -> tuple[dict, list[int]]:
    """What is to be run; the client's standard streams, and what else it was given open, which the command holds."""
    head, streams, _, _ = socket.recv_fds(connection, 8, 32)
    (length,) = struct.unpack("q", head)
    text = b""
    while len(text) < length:
        text += connection.recv(length - len(text))
    return json.loads(text), list(streams)


def run(job: dict, streams: list[int], client: str) -> None:
    """What the interpreter does with these words; never returns."""
    os.setsid()
    for place, stream in enumerate(streams[:3]):
        os.dup2(stream, place)
        os.close(stream)
    os.chdir(job["cwd"])
    os.environ.clear()
    os.environ.update(job["environment"])
    sys.executable = client  # commands that the command starts are forked, too
    seed_anew()
    code = 0
    try:
        words, first = job["words"], ""
        as_module = "-m" in words[:2]
        words = words[words.index("-m") + 1 :] if as_module else words
        sys.argv = list(words)
        first = os.getcwd() if as_module else str(Path(words[0]).resolve().parent)
        added = [entry for entry in job["environment"].get("PYTHONPATH", "").split(os.pathsep) if entry]
        sys.path[:] = [first, *added, *(entry for entry in sys.path[1:] if entry not in added)]
        if as_module:
            runpy.run_module(words[0], run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(words[0], run_name="__main__")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except KeyboardInterrupt:
        sys.excepthook(*sys.exc_info())
        code = -signal.SIGINT
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    with contextlib.suppress(BaseException):
        threading._shutdown()
        atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    if code < 0:
        if code != -signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code & 0xFF)


def seed_anew() -> None:
    """Give the process random numbers of its own, as one that starts has."""
    import numpy

    numpy.random.seed()


if __name__ == "__main__":
    main(*sys.argv[1:])
