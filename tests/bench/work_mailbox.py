"""A large mailbox: SELECT, STATUS and its metadata, warm and with nothing on the node."""

import time

from work import Warm, Work

ENVELOPE = "FETCH 1:* (ENVELOPE BODYSTRUCTURE INTERNALDATE RFC822.SIZE)"
STATUS = "(MESSAGES UNSEEN UIDNEXT UIDVALIDITY HIGHESTMODSEQ)"


class Login(Work):
    """LOGIN and LIST."""

    name = "LOGIN, LIST"
    repeat = 10

    def __init__(self):
        self._users = {}

    def setup(self, side):
        self._users[side.name] = side.filled(1000)
        self.once(side)

    def once(self, side):
        begun = time.perf_counter()
        client = side.client(self._users[side.name])
        client.command('LIST "" *')
        took = time.perf_counter() - begun
        client.close()
        return took


class Command(Warm):
    """One command of a warm session."""

    def __init__(self, name, command, target, count, repeat):
        super().__init__()
        self.name = name
        self._command = command
        self.target = target
        self.count = count
        self.repeat = repeat

    def once(self, side):
        return self.session(side).command(self._command)


class Unselected(Command):
    """One command of a session with no mailbox selected."""

    def setup(self, side):
        self._sessions[side.name] = side.client(side.filled(self.count))
        self.once(side)


class Cold(Work):
    """A new session on a node that knows nothing of the mailbox."""

    def __init__(self, name, commands, target, count, limit=None):
        self.name = name
        self.target = target
        self.limit = limit
        self.rounds = 3 if count > 10000 else None
        self._commands = commands
        self._count = count

    def before(self, side):
        side.forget(side.filled(self._count))

    def once(self, side):
        took = side.recover(side.filled(self._count))
        client = side.client(side.filled(self._count))
        took += sum(client.command(command) for command in self._commands)
        client.close()
        return took


def works(scale):
    """All of this file."""
    found = [Login()]
    for count in scale.sizes:
        found += [
            Command("SELECT %d, warm" % count, "SELECT INBOX", 1.2, count, 15),
            Unselected("STATUS %d, warm" % count, "STATUS INBOX " + STATUS, 1.2, count, 15),
            Command("NOOP %d" % count, "NOOP", 1.2, count, 30),
            Command("FETCH FLAGS %d, warm" % count, "FETCH 1:* FLAGS", 1.2, count, 5),
            Command("FETCH ENVELOPE ... %d, warm" % count, ENVELOPE, 1.05, count, 3 if count <= 10000 else 1),
            Cold("SELECT %d, cold" % count, ["SELECT INBOX"], 0.1, count, 1.0 if count > 10000 else None),
            Cold("STATUS %d, cold" % count, ["STATUS INBOX " + STATUS], 0.1, count),
            Cold("FETCH FLAGS %d, cold" % count, ["SELECT INBOX", "FETCH 1:* FLAGS"], 0.1, count),
            Cold("FETCH ENVELOPE ... %d, cold" % count, ["SELECT INBOX", ENVELOPE], 0.1, count),
        ]
    return found
