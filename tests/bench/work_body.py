"""Bodies: many, a large one whole, a little of a large one."""

import sides
from corpus import BODY_MAX, Corpus
from work import Work

COUNT = 1000
LARGE = 20 * 1024 * 1024
ALL = "FETCH 1:* BODY.PEEK[]"


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


class FromPostgres(Body):
    """No node has kept the contents; beside one statement that reads them."""

    sides = Body.sides + ("libpq",)
    base = "libpq"

    def before(self, side):
        if side.is_pgbox:
            side.forget_contents()

    def once(self, side):
        if side.storage == "libpq":
            return side.read(self._user(side.pgbox))
        return super().once(side)


def large_user(side):
    """The user whose INBOX has one mail of 20 MB."""
    if "large" not in side.known:
        side.known["large"] = user = side.user()
        side.fill(user, "INBOX", [large_mail(LARGE)])
        side.settle()
    return side.known["large"]


def large_mail(size):
    """A mail of about so many bytes, one part."""
    pool = Corpus().message(1).split(b"\r\n\r\n", 1)[0]
    line = bytes(range(65, 91)) * 2 + bytes(range(97, 121)) + b"\r\n"
    return pool + b"\r\n\r\n" + line * (size // len(line))


def works(_scale):
    """All of this file."""
    again = "on the node" if sides.CONTENT_CACHE else "a second time"
    return [
        FromPostgres("%d bodies, from PostgreSQL" % COUNT, ALL, False, 1.2),
        FromPostgres("20 MB whole, from PostgreSQL", ALL, True, 1.2),
        Body("%d bodies, %s" % (COUNT, again), ALL, False, 1.2),
        Body("20 MB whole, %s" % again, ALL, True, 1.2),
        Body("1 KB of 20 MB", "FETCH 1 BODY.PEEK[]<10000000.1024>", True, 1.2),
    ]
