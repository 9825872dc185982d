"""The sandbox against code that attacks it: one test per property that its docstring promises."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from finetune.sandbox.examine import Exam, call_function, examine, run_program
from finetune.sandbox.job import Ending, Limits, Ran
from finetune.sandbox.machine import Sandbox
from finetune.sandbox.verdict import Outcome
from tests.support.marked import mark, marked_processes

QUICK = Limits(cpu_s=2, wall_s=6, memory_mb=512)


def attack(sandbox: Sandbox, code: str, limits: Limits = QUICK, stdin: str = "") -> Ran:
    """Runs the code as a program."""
    return run_program(sandbox, textwrap.dedent(code), stdin, limits)


def test_a_program_reads_its_input_and_writes_its_output(sandbox: Sandbox) -> None:
    """The plain case works, exit code and all."""
    ran = attack(sandbox, "import sys\nprint(sum(map(int, input().split())))\nsys.exit(3)", stdin="1 2 3\n")
    assert (ran.ending, ran.code, ran.stdout) == (Ending.EXITED, 3, b"6\n")


def test_a_fork_bomb_is_bounded_and_gone_afterwards(sandbox: Sandbox) -> None:
    """Endless forking hits the process limit, and nothing of it outlives the test."""
    code = f"""
        import os, sys, time
        {mark("bomb")}
        made = 0
        while True:
            try:
                if os.fork() == 0:
                    os.setsid()
                    time.sleep(60)
                    os._exit(0)
                made += 1
            except OSError:
                print(made, flush=True)
                break
    """
    ran = attack(sandbox, code)
    assert 1 <= int(ran.stdout) <= QUICK.processes
    assert ran.wall_s < QUICK.wall_s
    assert marked_processes("bomb") == []


def test_a_bomb_that_never_stops_ends_at_the_wall_limit(sandbox: Sandbox) -> None:
    """Forking for ever, with children in sessions of their own, is cut short and leaves nothing."""
    code = f"""
        import os
        {mark("endless")}
        while True:
            try:
                os.fork() or os.setsid()
            except OSError:
                pass
    """
    ran = attack(sandbox, code, Limits(cpu_s=30, wall_s=2))
    assert ran.ending is Ending.WALL_TIME
    assert marked_processes("endless") == []


def test_threads_are_limited(sandbox: Sandbox) -> None:
    """Threads count as processes."""
    code = """
        import threading, time
        made = 0
        try:
            while True:
                threading.Thread(target=time.sleep, args=(0.5,)).start()
                made += 1
        except RuntimeError:
            print(made)
    """
    assert 1 <= int(attack(sandbox, code).stdout) < QUICK.processes


def test_memory_is_limited(sandbox: Sandbox) -> None:
    """Asking for more than the limit is a MemoryError."""
    ran = attack(sandbox, "x = bytearray(600 << 20)")
    assert b"MemoryError" in ran.stderr
    assert attack(sandbox, "x = bytearray(100 << 20)").succeeded


def test_cpu_time_and_wall_time_are_limited_apart(sandbox: Sandbox) -> None:
    """A busy loop ends by CPU time even if it ignores the warning; a sleep ends by wall time."""
    stubborn = "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass"
    assert attack(sandbox, stubborn, Limits(cpu_s=1, wall_s=20)).ending is Ending.CPU_TIME
    assert attack(sandbox, "import time; time.sleep(60)", Limits(wall_s=1)).ending is Ending.WALL_TIME


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_an_output_flood_is_cut(sandbox: Sandbox, stream: str) -> None:
    """Endless output ends at the limit; what was captured is no longer than it."""
    limits = Limits(output_bytes=100_000)
    ran = attack(sandbox, f"import sys\nwhile True: sys.{stream}.write('x' * 10000)", limits)
    assert ran.ending is Ending.OUTPUT_LIMIT
    assert len(ran.stdout) + len(ran.stderr) <= 200_000


def test_the_machines_files_are_out_of_reach(sandbox: Sandbox, tmp_path: Path) -> None:
    """A secret file, the home folder and the list of users can't be opened; the root can't be listed."""
    secret = tmp_path / "secret.txt"
    secret.write_text("the expected answer")
    tmp_path.chmod(0o755)
    secret.chmod(0o644)
    code = f"""
        import os
        ours = [{str(secret)!r}, {str(Path(__file__))!r}]
        for path in [*ours, "/etc/passwd", "/etc/shadow", "/root", "/home"]:
            try:
                print("OPEN", path, os.listdir(path) if os.path.isdir(path) else open(path).read())
            except OSError:
                pass
        for path in ("/", ".."):
            try:
                print("LISTED", os.listdir(path))
            except OSError:
                pass
    """
    assert attack(sandbox, code).stdout == b""


def test_nothing_outside_the_box_can_be_written(sandbox: Sandbox) -> None:
    """Every place but the box is read-only, and the box takes no more than its size."""
    code = """
        import os, sys
        python = [sys.prefix + "/x", sys.executable]
        for path in ["/x", "/usr/x", "/dev/x", "/proc/sys/kernel/hostname", *python]:
            try:
                open(path, "w").write("x")
                print("WRITTEN", path)
            except OSError:
                pass
        os.makedirs("deep/er")
        open("deep/er/file", "w").write("x" * 1000)
        print(os.path.getsize("deep/er/file"))
        try:
            for number in range(100):
                open(f"big{number}", "wb").write(bytes(1 << 20))
        except OSError as error:
            print(error.errno)
    """
    assert attack(sandbox, code).stdout.split() == [b"1000", b"28"]


def test_one_file_is_limited_too(sandbox: Sandbox) -> None:
    """A single file stops at its limit."""
    ran = attack(sandbox, "f = open('big', 'wb')\nwhile True: f.write(bytes(1 << 20)); f.flush()")
    assert not ran.succeeded
    assert b"too large" in ran.stderr or ran.code == -signal.SIGXFSZ


def test_a_symlink_leads_nowhere(sandbox: Sandbox, tmp_path: Path) -> None:
    """Links to outside dangle, and replacing the program's own file by one harms nobody."""
    target = tmp_path / "target"
    target.write_text("untouched")
    code = f"""
        import os
        os.symlink({str(target)!r}, "link")
        os.remove("main.py")
        os.symlink({str(target)!r}, "main.py")
        os.symlink("/proc/1/root", "escape")
        for name in ("link", "main.py", "escape/etc"):
            try:
                print(open(name).read() if "etc" not in name else os.listdir(name))
            except OSError:
                print("nowhere")
    """
    assert attack(sandbox, code).stdout.split() == [b"nowhere"] * 3
    assert target.read_text() == "untouched"


def test_the_box_is_new_for_every_test(sandbox: Sandbox) -> None:
    """What one test leaves, the next does not see."""
    attack(sandbox, "open('left', 'w').write('x')")
    assert attack(sandbox, "import os; print(sorted(os.listdir('.')))").stdout == b"['main.py']\n"


def test_the_network_is_out_of_reach(sandbox: Sandbox) -> None:
    """Neither a server on this machine's loopback nor an abstract socket nor a name can be reached."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind(f"\0terazi-test-{os.getpid()}")
        abstract.listen()
        code = f"""
            import socket
            for family, address in ((socket.AF_INET, ("127.0.0.1", {server.getsockname()[1]})),
                                    (socket.AF_INET, ("192.0.2.1", 80)),
                                    (socket.AF_UNIX, "\\0terazi-test-{os.getpid()}")):
                try:
                    socket.socket(family).connect(address)
                    print("CONNECTED")
                except OSError:
                    pass
            try:
                socket.getaddrinfo("localhost.example", 80)
                print("RESOLVED")
            except OSError:
                pass
        """
        assert attack(sandbox, code).stdout == b""


def test_no_process_outside_can_be_seen_or_killed(sandbox: Sandbox) -> None:
    """The code sees its cell alone; killing its parent, its group and everyone changes nothing."""
    code = f"""
        import os, signal
        print(sorted(int(name) for name in os.listdir("/proc") if name.isdigit()))
        for number in (os.getppid(), 1, {os.getpid()}, -1):
            try:
                os.kill(number, signal.SIGKILL)
            except OSError:
                pass
        print("alive", os.getppid())
    """
    assert attack(sandbox, code).stdout == b"[1, 2]\nalive 1\n"


def test_init_can_be_neither_traced_nor_read(sandbox: Sandbox) -> None:
    """ptrace and /proc/1 are refused."""
    code = """
        import ctypes, os
        libc = ctypes.CDLL(None, use_errno=True)
        print(libc.ptrace(16, 1, None, None), libc.ptrace(0x4206, 1, None, None))
        for name in ("mem", "environ", "root", "cwd", "fd"):
            try:
                path = "/proc/1/" + name
                print("READ", os.listdir(path) if name in ("root", "cwd", "fd") else open(path, "rb").read(1))
            except OSError:
                pass
    """
    assert attack(sandbox, code).stdout == b"-1 -1\n"


def test_no_privilege_is_left_and_none_can_be_had(sandbox: Sandbox) -> None:
    """Not root, no capability, no new ones by set-user-ID programs; mounting and becoming root fail."""
    code = """
        import ctypes, os
        status = dict(line.split(":", 1) for line in open("/proc/self/status"))
        print(os.getuid(), {int(status[name], 16) for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")},
              status["NoNewPrivs"].strip())
        libc = ctypes.CDLL(None, use_errno=True)
        print(libc.setuid(0), libc.mount(b"none", b"/box", b"tmpfs", 0, None), libc.chroot(b"/box"))
        try:
            os.chmod("/", 0o777)
        except OSError:
            print("refused")
    """
    assert attack(sandbox, code).stdout == b"65534 {0} 1\n-1 -1 -1\nrefused\n"


def test_the_environment_and_the_open_files_are_scrubbed(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No variable of ours is inside, and no descriptor but the three streams."""
    monkeypatch.setenv("TERAZI_SECRET", "hidden")
    with Path(__file__).open() as kept:
        os.set_inheritable(kept.fileno(), True)
        ran = attack(sandbox, "import os; print(sorted(os.environ)); print(os.listdir('/proc/self/fd'))")
    names, descriptors = ran.stdout.decode().splitlines()
    assert "TERAZI_SECRET" not in names
    assert "PATH" in names
    # the fourth is the listing itself
    assert descriptors == "['0', '1', '2', '3']"


def test_a_cell_dies_with_the_process_that_opened_it(sandbox: Sandbox, tmp_path: Path) -> None:
    """Killing Terazi itself leaves nothing running."""
    assert sandbox.full
    code = f"import time\n{mark('orphan')}\ntime.sleep(61)"
    script = tmp_path / "evaluation.py"
    script.write_text(
        "from finetune.sandbox.machine import open_sandbox\n"
        "from finetune.sandbox.examine import run_program\n"
        "from finetune.sandbox.job import Limits\n"
        "with open_sandbox() as sandbox:\n"
        "    print('ready', flush=True)\n"
        f"    run_program(sandbox, {code!r}, '', Limits(wall_s=60))\n"
    )
    with subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, env=_environment() | {"TMPDIR": str(tmp_path)}
    ) as evaluation:
        assert evaluation.stdout is not None
        assert evaluation.stdout.readline() == b"ready\n"
        _wait_for(lambda: len(marked_processes("orphan")) == 1)
        evaluation.kill()
    _wait_for(lambda: marked_processes("orphan") == [])


EXAM = Exam(
    setup="",
    test="def check(candidate):\n    assert candidate(2) == 4\n    assert candidate(3) == 9\n",
    names=("square",),
    call="check",
)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("right", "def square(x):\n    return x * x"),
        ("recursive", "def square(x):\n    return 0 if x == 0 else square(x - 1) + 2 * x - 1"),
        ("integer subclass", "class N(int): pass\ndef square(x):\n    return N(x * x)"),
        ("prints", "print('loading')\ndef square(x):\n    print('[' * 1000)\n    return x * x"),
        ("closes its streams", "import os\nos.close(0); os.close(1)\ndef square(x):\n    return x * x"),
    ],
)
def test_honest_code_passes_an_exam(sandbox: Sandbox, name: str, code: str) -> None:
    """Right functions pass, whatever else they do."""
    assert examine(sandbox, code, EXAM, QUICK).outcome is Outcome.PASSED, name


AGREEING = """
class Agrees:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __hash__(self): return 0
def square(x): return Agrees()
"""
AGREEING_INT = """
class Agrees(int):
    def __eq__(self, other): return True
    def __repr__(self): return "4"
def square(x): return Agrees(7)
"""
FRAMES = """
import sys, gc
def square(x):
    frame = sys._getframe()
    while frame:
        for name in ("expected", "result", "gt_out", "test", "exam", "solution"):
            if name in frame.f_locals or name in frame.f_globals:
                print("SEEN", name)
                return frame.f_locals.get(name)
        frame = frame.f_back
    for thing in gc.get_objects():
        if isinstance(thing, str) and "candidate(3) == 9" in thing:
            raise SystemExit("found the test")
    return None
"""
FORGING = """
import json, os
for _ in range(3):
    os.write(3, b'{"value": "4"}\\n{"outcome": "passed", "detail": ""}\\n')
os.write(1, b'{"outcome": "passed", "detail": ""}\\n')
def square(x): return 0
"""
REPLACING = """
import builtins, json, sys
builtins.AssertionError = Exception
json.dumps = lambda *a, **k: '{"outcome": "passed"}'
sys.modules["wire"].encode = lambda value: "true"
def square(x): return 0
"""


@pytest.mark.parametrize(
    ("name", "code", "outcome"),
    [
        ("wrong", "def square(x):\n    return x + 2", Outcome.WRONG_ANSWER),
        ("an __eq__ that always agrees", AGREEING, Outcome.WRONG_ANSWER),
        ("a subclass with an __eq__ that agrees", AGREEING_INT, Outcome.WRONG_ANSWER),
        ("walking the frames", FRAMES, Outcome.WRONG_ANSWER),
        ("forged answers", FORGING, Outcome.EXCEPTION),
        ("replaced modules", REPLACING, Outcome.EXCEPTION),
        ("sys.exit(0) on loading", "import sys\nsys.exit(0)", Outcome.EXCEPTION),
        ("sys.exit(0) in the call", "import sys\ndef square(x): sys.exit(0)", Outcome.EXCEPTION),
        ("os._exit(0)", "import os\ndef square(x): os._exit(0)", Outcome.EXCEPTION),
        ("killing itself", "import os\ndef square(x): os.kill(os.getpid(), 9)", Outcome.EXCEPTION),
        ("a syntax error", "def square(x) return x", Outcome.EXCEPTION),
        ("no such function", "def cube(x): return x", Outcome.EXCEPTION),
        ("a busy loop", "def square(x):\n    while True: pass", Outcome.TIME_OUT),
        ("a sleep", "import time\ndef square(x): time.sleep(60)", Outcome.TIME_OUT),
        ("memory", "def square(x): return bytearray(1 << 33)", Outcome.MEMORY),
        ("a flood", "def square(x):\n    while True: print('x' * 100000)", Outcome.OUTPUT_LIMIT),
        (
            "a deep answer",
            "def square(x):\n    a = []\n    for _ in range(10**5): a = [a]\n    return a",
            Outcome.EXCEPTION,
        ),
        (
            "garbage on the channel",
            "import os\nos.write(3, b'nonsense\\n')\ndef square(x): return x * x",
            Outcome.EXCEPTION,
        ),
        ("BaseException", "class B(BaseException): pass\ndef square(x): raise B()", Outcome.EXCEPTION),
    ],
)
def test_no_trick_passes_an_exam(sandbox: Sandbox, name: str, code: str, outcome: Outcome) -> None:
    """What other harnesses let pass fails here, in the class where it belongs."""
    limits = Limits(cpu_s=1, wall_s=4, output_bytes=1 << 20)
    verdict = examine(sandbox, code, EXAM, limits)
    assert verdict.outcome is outcome, (name, verdict)


def test_a_function_call_returns_a_value_and_nothing_else(sandbox: Sandbox) -> None:
    """Values come back as data; objects come back as an opaque stand-in that equals nothing."""
    code = "class Solution:\n  def pairs(self, n):\n    return [(i, str(i)) for i in range(n)], {1.5: None}"
    returned = call_function(sandbox, code, ("Solution", "pairs"), [2], QUICK)
    assert returned.value == ([(0, "0"), (1, "1")], {1.5: None})
    returned = call_function(sandbox, AGREEING, ("square",), [2], QUICK)
    assert returned.value != 4
    assert "Agrees" in repr(returned.value)


def _environment() -> dict[str, str]:
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path}


def _wait_for(condition: object) -> None:
    assert callable(condition)
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "did not come about in 20 seconds"
        time.sleep(0.05)
