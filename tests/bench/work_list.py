"""Many mailboxes."""

from sides import FILLER
from work import Work

COMMAND = 'LIST "" * RETURN (STATUS (MESSAGES UNSEEN UIDNEXT))'


class ListStatus(Work):
    """LIST with STATUS of all, in a session that has asked before."""

    repeat = 3

    def __init__(self, count, target):
        self.name = "LIST, STATUS of %d" % count
        self.target = target
        self._count = count
        self._sessions = {}

    def setup(self, side):
        user = side.user()
        filler = side.client(user, source=FILLER)
        for number in range(self._count):
            filler.command("CREATE box%d" % number)
            if number % 10 == 0:
                filler.append("box%d" % number, [b"Subject: %d\r\n\r\nA mail.\r\n" % number])
        filler.close()
        side.settle()
        self._sessions[side.name] = side.client(user)
        self.once(side)

    def once(self, side):
        return self._sessions[side.name].command(COMMAND)

    def after(self, side):
        self._sessions.pop(side.name).close()


def works(scale):
    """All of this file."""
    found = [ListStatus(500, 0.8)]
    if not scale.quick:
        found.append(ListStatus(10000, None))
    return found
