"""Flags, copies, moves, expunges."""

from work import Warm, Work


class StoreOne(Warm):
    """A flag of one message, set and taken away."""

    repeat = 30

    def __init__(self, name, beside, target):
        super().__init__()
        self.name = name
        self.target = target
        self.sides = ("pgbox", beside)
        self._turn = 0

    def once(self, side):
        # repeat is even: each side sets and takes away
        turn, self._turn = self._turn, self._turn + 1
        return self.session(side).command("STORE %d %sFLAGS (\\Flagged)" % (1 + turn // 2 % self.count, "+-"[turn % 2]))


class StoreAll(Warm):
    """A flag of all messages, set and taken away; beside one UPDATE of as many rows."""

    repeat = 2
    base = "libpq"
    target = 1.3
    sides = Warm.sides + ("libpq",)

    def __init__(self):
        super().__init__()
        self.name = "STORE %d" % self.count
        self._set = {}
        self._bare = None

    def setup(self, side):
        if side.storage != "libpq":
            super().setup(side)
            return
        # rows of their own: pgbox's session would have to pull what was changed
        user = side.pgbox.filled(self.count)
        client = side.pgbox.client(user, "INBOX")
        client.command("CREATE bare")
        client.command("COPY 1:* bare")
        client.close()
        side.pgbox.settle()
        self._bare = side.mailbox(user, "bare")

    def once(self, side):
        if side.storage == "libpq":
            return side.change(self._bare)
        self._set[side.name] = not self._set.get(side.name)
        return self.session(side).command("STORE 1:* %sFLAGS.SILENT (\\Answered)" % (
            "+" if self._set[side.name] else "-"))

    def after(self, side):
        if side.storage != "libpq":
            super().after(side)


class Copy(Warm):
    """All messages into a new folder, which is deleted again."""

    repeat = 1

    def __init__(self):
        super().__init__()
        self.name = "COPY %d" % self.count
        self.target = 0.5

    def setup(self, side):
        self._sessions[side.name] = side.client(side.filled(self.count), "INBOX")

    def before(self, side):
        self.session(side).command("CREATE copies")

    def once(self, side):
        took = self.session(side).command("COPY 1:* copies")
        self.session(side).command("DELETE copies")
        return took


class Move(Work):
    """All messages of a folder into another one."""

    count = 10000
    target = 0.7

    def __init__(self):
        self.name = "MOVE %d" % self.count

    def once(self, side):
        client = side.client(side.filled(self.count), "INBOX")
        client.command("CREATE from")
        client.command("CREATE to")
        client.command("COPY 1:* from")
        client.command("SELECT from")
        took = client.command("MOVE 1:* to")
        client.command("SELECT INBOX")
        client.command("DELETE from")
        client.command("DELETE to")
        client.close()
        return took


class Expunge(Work):
    """Every other message."""

    count = 10000
    target = 1.0

    def __init__(self):
        self.name = "EXPUNGE half of %d" % self.count

    def once(self, side):
        client = side.client(side.filled(self.count), "INBOX")
        client.command("CREATE doomed")
        client.command("COPY 1:* doomed")
        client.command("SELECT doomed")
        step = 500
        for first in range(1, self.count, step):
            client.command("STORE ", ",".join(str(seq) for seq in range(first, first + step, 2)),
                           " +FLAGS.SILENT (\\Deleted)")
        took = client.command("EXPUNGE")
        client.command("SELECT INBOX")
        client.command("DELETE doomed")
        client.close()
        return took


def works(_scale):
    """All of this file."""
    return [
        StoreOne("STORE 1", "sdbox", None),
        StoreOne("STORE 1, sdbox with mail_fsync=always", "sdbox+fsync", 1.0),
        StoreAll(), Copy(), Move(), Expunge(),
    ]
