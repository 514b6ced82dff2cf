"""Processes, users, ports and waiting: what both servers of the lab need."""

import fcntl
import grp
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import zlib

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PORT_FIRST, PORT_LAST = 21000, 31000


class LabError(Exception):
    """The lab itself failed: not a finding about the code under test."""


def is_root():
    """Whether we may, and must, drop privileges."""
    return os.geteuid() == 0


def own_user():
    """The name of the user that we run as."""
    return pwd.getpwuid(os.geteuid()).pw_name


def group_of(user):
    """The name of the user's primary group."""
    return grp.getgrgid(pwd.getpwnam(user).pw_gid).gr_name


def as_user(user):
    """Arguments to subprocess that run a child as the user ({} if that is us)."""
    if not is_root() or user == "root":
        return {}
    entry = pwd.getpwnam(user)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def give(path, user):
    """Hand a file or a folder to the user, when we are root."""
    if is_root():
        entry = pwd.getpwnam(user)
        os.chown(path, entry.pw_uid, entry.pw_gid)


def run(argv, user=None, data=None, env=None, timeout=60, check=True, cwd="/"):
    """Run a program to its end; return the CompletedProcess, output as bytes."""
    kwargs = as_user(user) if user else {}
    # Files, not pipes: a daemon that the program leaves behind may hold them.
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        done = subprocess.run(argv, input=data if data is not None else b"",
                              stdout=out, stderr=err, env=env, timeout=timeout,
                              cwd=cwd, **kwargs)
        done.stdout, done.stderr = (read_back(handle) for handle in (out, err))
    if check and done.returncode != 0:
        raise LabError("%s: exit %d\n%s%s" % (
            " ".join(argv), done.returncode,
            done.stdout.decode("utf-8", "replace"),
            done.stderr.decode("utf-8", "replace")))
    return done


def read_back(handle):
    """All that was written to a temporary file."""
    handle.seek(0)
    return handle.read()


def wait_for(predicate, seconds=10.0, what="condition"):
    """Poll until predicate() is true; return its value. LabError at the deadline."""
    deadline = time.monotonic() + seconds
    pause = 0.005
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > deadline:
            raise LabError("waited %.0f s for: %s" % (seconds, what))
        time.sleep(pause)
        pause = min(pause * 1.5, 0.2)


def alive(pid):
    """Whether the process exists and isn't a zombie."""
    try:
        with open("/proc/%d/stat" % pid) as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def kill_wait(pid, sig=signal.SIGTERM, seconds=20):
    """Signal one process that we started and wait until it is gone."""
    try:
        os.kill(pid, sig)
    except ProcessLookupError:
        return
    wait_for(lambda: not alive(pid), seconds, "process %d to end" % pid)


class Ports:
    """Ports of the loopback interface that no other test run takes meanwhile.

    Each number is guarded by a lock file for as long as this process lives,
    and lies below the range from which the kernel picks."""

    def __init__(self):
        self._dir = "/tmp/pgbox-ports-%d" % os.geteuid()
        self._held = []
        self._next = PORT_FIRST + (os.getpid() * 37) % (PORT_LAST - PORT_FIRST)
        os.makedirs(self._dir, exist_ok=True)

    def take(self, count):
        """Return the numbers of count free ports."""
        return [self._take_one() for _ in range(count)]

    def _take_one(self):
        for _ in range(PORT_LAST - PORT_FIRST):
            port = self._next
            self._next = PORT_FIRST + (port + 1 - PORT_FIRST) % (PORT_LAST - PORT_FIRST)
            if self._lock(port) and not listening(port):
                return port
        raise LabError("no free port between %d and %d" % (PORT_FIRST, PORT_LAST))

    def _lock(self, port):
        handle = open(os.path.join(self._dir, str(port)), "w")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            handle.close()
            return False
        self._held.append(handle)
        return True


def listening(port):
    """Whether anything listens on the port of the loopback interface."""
    wanted = ":%04X" % port
    with open("/proc/net/tcp") as table:
        return any(line.split()[1].endswith(wanted) and line.split()[3] == "0A"
                   for line in list(table)[1:])


PORTS = Ports()


def make_workdir(prefix="pgbox-"):
    """A fresh folder that all users may enter. Short: unix sockets live in it."""
    path = tempfile.mkdtemp(prefix=prefix, dir="/tmp")
    os.chmod(path, 0o755)
    return path


def remove_tree(path):
    """Delete a folder made by make_workdir."""
    assert path.startswith("/tmp/pgbox-")
    shutil.rmtree(path, ignore_errors=True)


def memory_of(pid):
    """Memory figures of a process in bytes: VmHWM, VmRSS, RssAnon, ..."""
    figures = {}
    with open("/proc/%d/status" % pid) as status:
        for line in status:
            words = line.split()
            if len(words) == 3 and words[2] == "kB":
                figures[words[0].rstrip(":")] = int(words[1]) * 1024
    return figures


def mapped(pid):
    """The sums of a process's mappings in bytes: Pss, Pss_Anon, Private_Dirty, ..."""
    with open("/proc/%d/smaps_rollup" % pid) as rollup:
        rows = [line.split() for line in rollup]
    return {words[0].rstrip(":"): int(words[1]) * 1024 for words in rows if words[-1] == "kB"}


def reset_peak(pid):
    """Make VmHWM of a process start anew from what it uses now."""
    with open("/proc/%d/clear_refs" % pid, "w") as handle:
        handle.write("5")


class Checksum:
    """CRC-32 and size of a stream."""

    def __init__(self, data=b""):
        self.value = 0
        self.size = 0
        self.add(data)

    def add(self, data):
        """Take the next bytes."""
        self.value = zlib.crc32(data, self.value)
        self.size += len(data)


def describe():
    """What machine this is: processors, memory, kernel."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {"cpus": os.cpu_count(), "memory": pages, "kernel": os.uname().release}
