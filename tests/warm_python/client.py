"""Stands in for the interpreter: has ``-m MODULE …`` of the heavy commands run by the server, all else by Python.

``client.py PYTHON SOCKET WORD …``: signals go to the command, its standard streams are this process's, and this
process ends as the command does.
"""

import json
import os
import signal
import socket
import struct
import sys

FORKED = ("monai.bundle", "medtrans.cli", "torch.distributed.run")
PASSED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(python: str, path: str, *words: str) -> None:
    given = words[1:] if words[:1] == ("-u",) else words
    script = bool(given) and os.path.basename(os.path.dirname(os.path.abspath(given[0]))) == "benchmarks"
    if not (script or (given[:1] == ("-m",) and given[1:2] and given[1] in FORKED)):
        os.execv(python, [python, *words])
    held = [number for number in map(int, os.listdir("/proc/self/fd")) if number > 2 and is_handed_on(number)]
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    for number in PASSED:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda number, _: connection.send(bytes([number])))
    job = {"words": given, "cwd": os.getcwd(), "environment": dict(os.environ)}
    text = json.dumps(job).encode()
    socket.send_fds(connection, [struct.pack("q", len(text))], [0, 1, 2, *held])
    connection.sendall(text)
    answer = connection.recv(4)
    code = struct.unpack("i", answer)[0] if answer else 1
    if code < 0:
        if code != -signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


def is_handed_on(number: int) -> bool:
    """Whether a file came open from the process that started this one, such as a lock that the command is to hold."""
    try:
        return os.get_inheritable(number)
    except OSError:
        return False


if __name__ == "__main__":
    main(*sys.argv[1:])
