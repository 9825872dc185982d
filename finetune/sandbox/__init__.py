"""The sandbox in which generated code runs: one process per test, in a cell of its own.

What a full cell gives, each attacked in tests/test_sandbox_attacks.py:

- namespaces for users, processes, network, mounts, IPC and host name: the code sees no other process, no
  network interface (not even loopback), and no file but the system's programs and Python's, all read-only;
- one writable place, /box, a small memory file system that is gone afterwards; the root can't be listed;
- a user that owns nothing, no capabilities, no new privileges (set-user-ID programs do nothing);
- limits on CPU time, wall time, memory per process, processes and threads, file size, open files, disk, and
  captured output; no core dumps;
- an environment of a few fixed variables and no open file but the three streams (and its own channel);
- everything the code started dies with its init, whatever sessions it made, and with Terazi;
- the expected values are never inside: the caller compares, or a second cell does (`examine`).

What it does not give: memory is limited per process, so the total may reach `memory_mb` x `processes`; system
calls are not filtered, so a hole in the kernel is a hole in the cell; reading installed packages and the
processor's side channels is possible. Where the machine refuses namespaces, opening it fails and says which
step was refused; `allow_weaker` then runs code with the limits, the scrubbed environment and (as root)
another user, but with the machine's files and network in reach.
"""
