"""Bodies: many, a large one whole, a little of a large one."""

from corpus import BODY_MAX, Corpus
from work import Work

COUNT = 1000
LARGE = 20 * 1024 * 1024


class Body(Work):
    """One FETCH in a new session, so that no process has it in memory."""

    def __init__(self, name, command, large, target):
        self.name = name
        self.target = target
        self._command = command
        self._large = large

    def _user(self, side):
        return large_user(side) if self._large else side.filled(COUNT, BODY_MAX)

    def setup(self, side):
        self.once(side)

    def once(self, side):
        client = side.client(self._user(side), "INBOX")
        took = client.command(self._command)
        client.close()
        return took


def large_user(side):
    """The user whose INBOX has one mail of 20 MB."""
    if "large" not in side.known:
        side.known["large"] = user = side.user()
        pool = Corpus().message(1).split(b"\r\n\r\n", 1)[0]
        line = bytes(range(65, 91)) * 2 + bytes(range(97, 121)) + b"\r\n"
        side.fill(user, "INBOX", [pool + b"\r\n\r\n" + line * (LARGE // len(line))])
        side.settle()
    return side.known["large"]


def works(_sizes):
    """All of this file."""
    return [
        Body("1,000 bodies", "FETCH 1:* BODY.PEEK[]", False, 1.2),
        Body("20 MB whole", "FETCH 1 BODY.PEEK[]", True, 1.2),
        Body("1 KB of 20 MB", "FETCH 1 BODY.PEEK[]<10000000.1024>", True, 1.2),
    ]
