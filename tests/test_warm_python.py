"""What tests run commands with is a Python: each command has its own streams, exit code, signals and environment."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = """
import os, sys, signal, time
print(os.getcwd(), sys.argv[1:], os.environ.get("TOLD"), "medtrans" in sys.modules, flush=True)
print(sys.stdin.read(), file=sys.stderr)
word = sys.argv[1] if len(sys.argv) > 1 else ""
if word == "fail":
    raise ValueError("on purpose")
if word == "exit":
    sys.exit(7)
if word == "words":
    sys.exit("said at the end")
if word == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
if word == "wait":
    open("waiting", "w").write(str(os.getpid()))
    time.sleep(60)
"""


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "benchmarks" / "script.py"
    path.parent.mkdir()
    path.write_text(SCRIPT)
    return path


@pytest.mark.parametrize("word", ["", "fail", "exit", "words", "killed"])
def test_a_command_ends_as_with_python(word, script, warm_python, tmp_path):
    said = []
    for python in (sys.executable, warm_python):
        done = subprocess.run(
            [python, script, word],
            cwd=tmp_path,
            env=os.environ | {"TOLD": "ä"},
            input="given",
            capture_output=True,
            text=True,
        )
        said.append((done.returncode, done.stdout, done.stderr.splitlines()[:1], done.stderr.splitlines()[-1:]))
    assert said[0] == said[1]
    assert "given" in said[0][2]


def gone(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_reaches_the_command(number, script, warm_python, tmp_path):
    command = subprocess.Popen(
        [warm_python, script, "wait"], cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    end = time.monotonic() + 30
    while not (tmp_path / "waiting").is_file() or not (tmp_path / "waiting").read_text():
        assert time.monotonic() < end
        time.sleep(0.01)
    command.send_signal(number)
    assert command.wait(30) == -number
    while not gone(int((tmp_path / "waiting").read_text())):
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_command_holds_the_lock_it_was_given_when_its_client_is_gone(script, warm_python, tmp_path):
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        command = subprocess.Popen(
            [warm_python, script, "wait"], cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, pass_fds=(lock.fileno(),),
        )  # fmt: skip
        while not (tmp_path / "waiting").is_file():
            time.sleep(0.01)
    with (tmp_path / "lock").open("w") as other:
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        command.kill()
        command.wait(30)
        fcntl.flock(other, fcntl.LOCK_EX)  # comes when the command has ended too


def test_a_command_of_medtrans_imports_it_itself_and_is_like_one_of_python(warm_python, tmp_path):
    words = ["-m", "medtrans.cli", "evaluate", "nowhere", "nowhere"]
    one, other = (
        subprocess.run([python, *words], cwd=tmp_path, capture_output=True, text=True)
        for python in (sys.executable, warm_python)
    )
    assert one.returncode == other.returncode == 2
    assert one.stderr == other.stderr


def test_other_words_go_to_python(warm_python):
    done = subprocess.run([warm_python, "-c", "import sys; print(sys.executable)"], capture_output=True, text=True)
    assert done.stdout.strip() == sys.executable
