"""Instructions that an imap process takes for a command: callgrind counts them.

They hardly vary, whatever else the machine does. The backend's aren't among
them."""

import glob
import os
import re

import proc
from corpus import Corpus
from rawclient import RawClient

COUNT, TIMES = 200, 10
SIDES = ("pgbox", "sdbox")
COMMANDS = (
    ("SELECT of %d" % COUNT, ("SELECT INBOX",)),
    ("NOOP", ("NOOP",)),
    ("FETCH FLAGS of %d" % COUNT, ("FETCH 1:* FLAGS",)),
    ("FETCH of %d bodies" % COUNT, ("FETCH 1:* BODY.PEEK[]",)),
    ("STORE of 1, set and taken away", ("STORE 1 +FLAGS.SILENT (\\Flagged)", "STORE 1 -FLAGS.SILENT (\\Flagged)")),
)
CONFIG = """
default_vsz_limit = 0
plugin {
  pgbox_connect_timeout = 60 secs
  pgbox_idle_timeout = 300 secs
}
import_environment = $import_environment GDB=1
service imap {
  service_count = 1
  executable = %s --tool=callgrind --callgrind-out-file=/dev/null --log-file=%s/%%p /usr/lib/dovecot/imap
}
"""
COLLECTED = re.compile(r"Collected : (\d+)")


class Counter:
    """A side whose imap processes count."""

    def __init__(self, lab, storage):
        self._folder = os.path.join(lab.dir, "callgrind-" + storage)
        os.makedirs(self._folder)
        os.chmod(self._folder, 0o777)
        self._node = lab.node("instructions-" + storage, storage=storage, plugins="",
                              extra=CONFIG % ("/usr/bin/valgrind", self._folder))
        self._user = lab.user(self._node)
        lmtp = self._node.lmtp()
        for message in Corpus(body_max=8000).messages(COUNT):
            lmtp.deliver(message, self._user)
        lmtp.close()

    def session(self, commands, times):
        """Instructions of a session that gives all commands once, then these so many times."""
        client = RawClient(self._node.ports["imap"])
        client.login(self._user)
        for _, each in COMMANDS:
            for command in each:
                client.command(command)
        for _ in range(times):
            for command in commands:
                client.command(command)
        client.close()
        return proc.wait_for(self._collected, 60, "callgrind's figure")

    def _collected(self):
        for path in glob.glob(self._folder + "/*"):
            with open(path) as handle:
                found = COLLECTED.search(handle.read())
            if found:
                os.unlink(path)
                return int(found.group(1))
        return None


def measure(lab):
    """Rows of (what, {storage: instructions for each command})."""
    rows = [(what, {}) for what, _ in COMMANDS]
    for storage in SIDES:
        counter = Counter(lab, storage)
        # the index is made at first
        counter.session((), 0)
        alone = counter.session((), 0)
        for (_, found), (_, commands) in zip(rows, COMMANDS):
            found[storage] = (counter.session(commands, TIMES) - alone) / TIMES / len(commands)
    return rows


def head():
    """What stands above."""
    return "%-40s %11s %11s %11s" % (("instructions of imap, thousands",) + SIDES + ("ratio",))


def line(what, found):
    """A printed line."""
    return "%-40s %11.0f %11.0f %11.2f" % (what, found["pgbox"] / 1000, found["sdbox"] / 1000, found["pgbox"] / found["sdbox"])
