"""The program that builds the cell around one piece of generated code, then runs it there.

Runs alone (`python -I -S -B jail.py CONFIG_FD STATUS_FD`), standard library only, started by
`finetune.sandbox.process`. Reads its orders as JSON, writes one JSON line that says how the code ended or
which step of building the cell failed. Three processes: this one, outside, waits; the cell's init (pid 1
inside) builds the file system and reaps; the code itself runs as an unprivileged user below it.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

LIBC = ctypes.CDLL(None, use_errno=True)
NEWNS, NEWUTS, NEWIPC = 0x00020000, 0x04000000, 0x08000000
NEWUSER, NEWPID, NEWNET = 0x10000000, 0x20000000, 0x40000000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 8, 4096, 16384, 1 << 18
MNT_DETACH = 2
SYS_MOUNT_SETATTR, AT_FDCWD, AT_RECURSIVE = 442, -100, 0x8000
ATTR_RDONLY, ATTR_NOSUID, ATTR_NODEV = 1, 2, 4
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = (
    1,
    4,
    24,
    36,
    38,
)
CAPABILITY_VERSION_3 = 0x20080522
NOBODY = 65534
FIRST_PRIVATE_UID = 0x60000000
CHANNEL_FD = 3
BOX = "/box"
DEVICES = ("null", "zero", "full", "random", "urandom")
LINKS = {
    "tmp": BOX,
    "dev/shm": BOX,
    "dev/fd": "/proc/self/fd",
    "dev/stdin": "/proc/self/fd/0",
    "dev/stdout": "/proc/self/fd/1",
    "dev/stderr": "/proc/self/fd/2",
}


class StepFailed(Exception):
    """A step of building the cell was refused by the machine."""


def checked(step: str, result: int) -> int:
    """`result`, or `StepFailed` with the errno's words when it is negative."""
    if result < 0:
        raise StepFailed(f"{step}: {os.strerror(ctypes.get_errno())}")
    return result


def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    """mount(2)."""
    parts = [part.encode() for part in (source, target, kind)]
    step = f"mount {kind or 'bind'} on {target}"
    checked(step, LIBC.mount(*parts, ctypes.c_ulong(flags), options.encode()))


def restrict(target: str, attributes: int, recursive: bool = True) -> None:
    """Adds mount attributes (read-only, no devices, ...) to a mount and those below it."""
    wanted = (ctypes.c_uint64 * 4)(attributes, 0, 0, 0)
    flags = AT_RECURSIVE if recursive else 0
    result = LIBC.syscall(
        ctypes.c_long(SYS_MOUNT_SETATTR), AT_FDCWD, target.encode(), flags, wanted, ctypes.sizeof(wanted)
    )
    checked(f"mount_setattr {target}", result)


def bind(root: str, path: str, attributes: int) -> None:
    """Shows the machine's `path` at the same place in the cell."""
    target = Path(root + path)
    target.parent.mkdir(parents=True, exist_ok=True)
    if Path(path).is_dir():
        target.mkdir(exist_ok=True)
    else:
        target.touch()
    mount(path, str(target), "", MS_BIND | MS_REC)
    if attributes:
        restrict(str(target), attributes)


def build_root(orders: dict[str, Any], owner: int) -> None:
    """A new root: the machine's programs read-only, a private /box, and nothing else; then moves into it."""
    root = orders["mountpoint"]
    mount("none", "/", "", MS_REC | MS_PRIVATE)
    mount("tmpfs", root, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=0755")
    for path, target in orders["links"].items():
        Path(root + path).symlink_to(target)
    for path in orders["binds"]:
        bind(root, path, ATTR_RDONLY | ATTR_NOSUID | ATTR_NODEV)
    for device in DEVICES:
        bind(root, f"/dev/{device}", 0)
    for path, target in LINKS.items():
        with contextlib.suppress(FileExistsError):  # a Python installed under /tmp has taken the name
            Path(root, path).symlink_to(target)
    for folder in ("proc", "box"):
        Path(root, folder).mkdir()
    mount("proc", f"{root}/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    size = f"size={orders['disk_bytes']},nr_inodes=2048,mode=0700"
    mount("tmpfs", root + BOX, "tmpfs", MS_NOSUID | MS_NODEV, size)
    write_files(orders["files"], root + BOX, owner)
    hide(root, orders["binds"])
    restrict(root, ATTR_RDONLY, recursive=False)
    os.chdir(root)
    checked("pivot_root", LIBC.pivot_root(b".", b"."))
    checked("umount the old root", LIBC.umount2(b".", MNT_DETACH))
    os.chdir(BOX)


def hide(root: str, shown: list[str]) -> None:
    """Folders that only lead somewhere can be passed through but not listed, the root among them."""
    leading = {parent for path in shown for parent in Path(root + path).parents}
    for folder in sorted(leading, reverse=True):
        if folder.is_relative_to(root):
            folder.chmod(0o111)


def write_files(files: dict[str, str], folder: str, owner: int) -> None:
    """The code's files, owned by the user it runs as."""
    for name, text in files.items():
        path = Path(folder, name)
        path.write_text(text, encoding="utf-8", errors="surrogatepass")
        os.chown(path, owner, owner)
    os.chown(folder, owner, owner)


def map_ids(inside: int, user: int, group: int) -> None:
    """Makes `user` and `group` of the parent namespace appear as `inside` in the new one."""
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{inside} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{inside} {group} 1")


def drop_privileges(orders: dict[str, Any], owner: int) -> None:
    """Another user where that is possible, a user namespace with no power over the cell, no capabilities."""
    if orders["as_root"]:
        os.setgroups([])
        os.setresgid(owner, owner, owner)
        os.setresuid(owner, owner, owner)
    if orders["full"]:
        checked("unshare the code's user namespace", LIBC.unshare(NEWUSER))
        # A changed uid makes a process undumpable, and its /proc files root's.
        LIBC.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
        map_ids(NOBODY, owner, owner)
        for capability in range(64):
            LIBC.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    checked("capset", LIBC.capset(header, (ctypes.c_uint32 * 6)()))
    checked("no_new_privs", LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


def set_limits(limits: dict[str, int]) -> None:
    """rlimits by name; the CPU limit warns one second before it kills."""
    for name, value in limits.items():
        soft = value
        hard = value + 1 if name == "CPU" else value
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (soft, hard))


def become_the_code(orders: dict[str, Any], owner: int, failures: int) -> NoReturn:
    """Drops everything and executes the command; a failed step goes to `failures`."""
    try:
        os.setsid()
        drop_privileges(orders, owner)
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if orders["channel_fd"] is not None:
            os.set_inheritable(orders["channel_fd"], False)
            os.dup2(orders["channel_fd"], CHANNEL_FD)
            os.set_inheritable(CHANNEL_FD, True)
        os.umask(0o077)
        for ignored in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(ignored, signal.SIG_DFL)
        set_limits(orders["limits"])
        os.execve(orders["command"][0], orders["command"], orders["environment"])
    except (OSError, ValueError, StepFailed) as error:
        os.write(failures, str(error).encode())
    os._exit(1)


def run_the_code(orders: dict[str, Any], owner: int) -> dict[str, Any]:
    """Starts the code, reaps until it ends, and says how: exit code or signal, and CPU seconds."""
    reading, low = os.pipe()
    # Above the channel's number, which the child takes for itself.
    writing = fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, CHANNEL_FD + 1)
    os.close(low)
    child = os.fork()
    if child == 0:
        become_the_code(orders, owner, writing)
    os.close(writing)
    for stream in (0, 1, 2, orders["channel_fd"]):
        if stream is not None:
            os.close(stream)
    failure = os.read(reading, 4096).decode(errors="replace")
    ended = -1
    while ended != child:
        ended, status, usage = os.wait4(-1, 0)
    if failure:
        return {"failed": failure}
    code = os.waitstatus_to_exitcode(status)
    return {"code": code, "cpu_s": usage.ru_utime + usage.ru_stime}


def cell(orders: dict[str, Any]) -> dict[str, Any]:
    """Namespaces, init, the code inside; the kernel ends everything else with init."""
    own = 0 if orders["as_root"] else NEWUSER
    user, group = os.getuid(), os.getgid()
    checked("unshare", LIBC.unshare(own | NEWNS | NEWPID | NEWNET | NEWIPC | NEWUTS))
    if own:
        map_ids(0, user, group)
    owner = FIRST_PRIVATE_UID + os.getpid() if orders["as_root"] else 0
    reading, writing = os.pipe()
    init = os.fork()
    if init == 0:
        report(writing, lambda: build_and_run(orders, owner))
    os.close(writing)
    for stream in (0, 1, 2, orders["channel_fd"]):
        if stream is not None:
            os.close(stream)
    with os.fdopen(reading) as answer:
        text = answer.read()
    os.waitpid(init, 0)
    return dict(json.loads(text)) if text else {"failed": "the cell's init was killed"}


def build_and_run(orders: dict[str, Any], owner: int) -> dict[str, Any]:
    """What init does."""
    die_with_parent()
    build_root(orders, owner)
    LIBC.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    return run_the_code(orders, owner)


def open_air(orders: dict[str, Any]) -> dict[str, Any]:
    """The weaker way: no namespaces; this process adopts and ends what the code leaves behind."""
    LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGTERM, lambda *_: end_descendants(then_exit=True))
    owner = FIRST_PRIVATE_UID + os.getpid() if orders["as_root"] else os.getuid()
    folder = orders["mountpoint"]
    write_files(orders["files"], folder, owner if orders["as_root"] else -1)
    os.chdir(folder)
    try:
        return run_the_code(orders, owner)
    finally:
        end_descendants()


def end_descendants(then_exit: bool = False) -> None:
    """Kills all children, adopted ones too, until none is left (for 5 seconds at most)."""
    deadline = time.monotonic() + 5
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    while time.monotonic() < deadline and (pids := children.read_text().split()):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(int(pid), signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
    if then_exit:
        os._exit(1)


def die_with_parent() -> None:
    """The kernel kills this process when the one that started it dies."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def report(status: int, work: Any) -> NoReturn:
    """Writes what `work` returns, or the step that failed, and ends the process."""
    try:
        answer = work()
    except (OSError, StepFailed) as error:
        answer = {"failed": str(error)}
    os.write(status, json.dumps(answer).encode() + b"\n")
    os._exit(0)


def main() -> NoReturn:
    """Reads the orders and runs the code inside a cell, or in the open air when told so."""
    die_with_parent()
    status = int(sys.argv[2])
    os.set_inheritable(status, False)
    with os.fdopen(int(sys.argv[1]), encoding="utf-8", errors="surrogatepass") as source:
        orders = json.loads(source.read())
    report(status, lambda: cell(orders) if orders["full"] else open_air(orders))


if __name__ == "__main__":
    main()
