"""Runs commands one after the other, each in a fork of a process that has imported PyTorch and MONAI already.

Started by conftest.py. One JSON object a line on standard input, ``{"words", "cwd", "environment", "log"}``; for each
the exit code on standard output. A fork saves the imports, seconds a command, and keeps commands apart as processes do.
"""

import importlib
import json
import os
import runpy
import sys

IMPORTED = (
    "torch",
    "matplotlib.figure",
    "pandas",
    "monai.bundle",
    "monai.data",
    "monai.handlers",
    "monai.networks.nets",
)
IMPORTED += ("medtrans.cli", "medtrans.cohorts.prepare", "medtrans.engines", "medtrans.reports.evaluation")
ANSWERS = os.dup(1)


def main() -> None:
    for name in IMPORTED:
        importlib.import_module(name)
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if child == 0:
            run(job)
        _, status = os.waitpid(child, 0)
        os.write(ANSWERS, f"{os.waitstatus_to_exitcode(status)}\n".encode())


def run(job: dict) -> None:
    """What the interpreter does with these words, then exit."""
    log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(job["cwd"])
    os.environ.clear()
    os.environ.update(job["environment"])
    sys.argv = job["words"][1:]
    code = 0
    try:
        if job["words"][0] == "medtrans":
            sys.argv = job["words"]
            importlib.import_module("medtrans.cli").main()
        elif sys.argv[0] == "-m":
            sys.argv = sys.argv[1:]
            sys.path.insert(0, "")
            runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        else:
            sys.path.insert(0, os.path.dirname(os.path.abspath(sys.argv[0])))
            runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
