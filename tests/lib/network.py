"""Hosts apart from each other: network namespaces, joined by a switch that delays
packets and cuts lines.

The namespaces have no names. They live as long as this process or a server that
runs in them, and the switch ends with this process, however that ends: nothing is
left behind, and runs don't meet."""

import contextlib
import ctypes
import fcntl
import os
import shutil
import socket
import struct
import subprocess
import threading
import time

import proc

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "delay-switch.c")
TUN = "/dev/net/tun"
# Known to delay-switch.c, too. They are documentation's, and exist only in there.
ADDRESS = "192.0.2.%d"
NETMASK = "255.255.255.0"

# from <sched.h>, <linux/if_tun.h>, <linux/sockios.h>, <linux/if.h>
CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
IFF_TUN_WITHOUT_HEADER = 0x1001
SIOCSIFFLAGS = 0x8914
SIOCSIFADDR = 0x8916
SIOCSIFNETMASK = 0x891C
IFF_UP_RUNNING = 0x41

LIBC = ctypes.CDLL(None, use_errno=True)


class Unavailable(Exception):
    """This machine doesn't allow it; says why."""


class Host:
    """One of them: what is begun inside() has its network."""

    def __init__(self, number):
        self.number = number
        self.address = ADDRESS % (number + 1)
        with here():
            # what this thread is in from now on is a new one, until here() ends
            allowed(LIBC.unshare(CLONE_NEWNET), "unshare")
            self._namespace = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
            self.device = self._make_device()

    def _make_device(self):
        device = os.open(TUN, os.O_RDWR | os.O_NONBLOCK)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            fcntl.ioctl(device, TUNSETIFF, request("lan", struct.pack("H", IFF_TUN_WITHOUT_HEADER)))
            fcntl.ioctl(control, SIOCSIFADDR, request("lan", address(self.address)))
            fcntl.ioctl(control, SIOCSIFNETMASK, request("lan", address(NETMASK)))
            for name in ("lan", "lo"):
                fcntl.ioctl(control, SIOCSIFFLAGS, request(name, struct.pack("H", IFF_UP_RUNNING)))
        return device

    @contextlib.contextmanager
    def inside(self):
        """This thread's new sockets and processes are on this host."""
        with here():
            allowed(LIBC.setns(self._namespace, CLONE_NEWNET), "setns")
            yield

    def close(self):
        """It is gone when the last process in it has ended."""
        os.close(self._namespace)


@contextlib.contextmanager
def here():
    """This thread is back in its own network at the end."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        yield
    finally:
        LIBC.setns(before, CLONE_NEWNET)
        os.close(before)


def allowed(status, what):
    """Raise the error of a function of libc's that failed."""
    if status != 0:
        raise OSError(ctypes.get_errno(), what)


def request(name, rest):
    """A struct ifreq."""
    return struct.pack("16s24s", name.encode(), rest)


def address(text):
    """A struct sockaddr_in."""
    return struct.pack("HH4s", socket.AF_INET, 0, socket.inet_aton(text))


class Network:
    """So many hosts, in one subnet and joined."""

    def __init__(self, folder, count=4):
        if not proc.is_root():
            raise Unavailable("only root may make network namespaces")
        if not os.path.exists(TUN):
            raise Unavailable("there is no " + TUN)
        if not shutil.which("cc"):
            raise Unavailable("there is no C compiler")
        self.hosts = []
        try:
            for number in range(count):
                self.hosts.append(Host(number))
        except OSError as error:
            raise Unavailable("network namespaces: %s" % error)
        self._switch = self._start(folder)

    def _start(self, folder):
        os.mkdir(folder)
        program = os.path.join(folder, "delay-switch")
        proc.run(["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", program, SOURCE])
        devices = [host.device for host in self.hosts]
        switch = subprocess.Popen([program] + [str(device) for device in devices], pass_fds=devices,
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for device in devices:
            os.close(device)
        return switch

    def _command(self, *words):
        self._switch.stdin.write((" ".join(str(word) for word in words) + "\n").encode())
        self._switch.stdin.flush()
        answer = self._switch.stdout.readline()
        if answer != b"ok\n":
            raise proc.LabError("the switch says %r to %r" % (answer, words))

    def delay(self, seconds):
        """How long a packet is on its way from any host to any other."""
        self._command("delay", round(seconds * 1e6))

    def cut(self, one, other):
        """Packets between the two are lost, without a word to either."""
        self._both("cut", one, other)

    def join(self, one, other):
        """... and arrive again."""
        self._both("join", one, other)

    def _both(self, verb, one, other):
        self._command(verb, one.number, other.number)
        self._command(verb, other.number, one.number)

    @contextlib.contextmanager
    def without(self, one, other):
        """The line between the two is cut meanwhile."""
        self.cut(one, other)
        try:
            yield
        finally:
            self.join(one, other)

    def round_trip(self, one, other, count=30):
        """How long a byte and its echo take, in seconds: the least of many."""
        with other.inside():
            listener = socket.create_server((other.address, 0))
        threading.Thread(target=echo, args=(listener, count), daemon=True).start()
        with one.inside():
            line = socket.create_connection(listener.getsockname(), 10)
        best = 10.0
        with line:
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for _ in range(count):
                begin = time.perf_counter()
                line.sendall(b"x")
                line.recv(1)
                best = min(best, time.perf_counter() - begin)
        return best

    def close(self):
        """Join nobody any longer."""
        self._switch.stdin.close()
        self._switch.wait(10)
        self._switch.stdout.close()
        for host in self.hosts:
            host.close()


def echo(listener, count):
    """Send so many bytes back to who connects first."""
    with listener, listener.accept()[0] as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(count):
            line.sendall(line.recv(1))
