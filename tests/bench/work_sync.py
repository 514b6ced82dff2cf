"""What a client does that was away, and SEARCH."""

import re

from work import Work


class Qresync(Work):
    """SELECT with QRESYNC after 100 changes of flags."""

    repeat = 3
    target = 1.2

    def __init__(self, count):
        self.name = "QRESYNC after 100 changes, %d" % count
        self._count = count
        self._turn = 0

    def _state(self, side):
        client = side.client(side.filled(self._count))
        client.command("ENABLE QRESYNC")
        client.command("SELECT INBOX")
        found = [re.search(name + rb" (\d+)", client.last).group(1) for name in (b"UIDVALIDITY", b"HIGHESTMODSEQ")]
        return client, found

    def before(self, side):
        client, self._known = self._state(side)
        self._turn += 1
        client.command("STORE 1:100 %sFLAGS.SILENT (\\Draft)" % "+-"[self._turn % 2])
        client.close()

    def once(self, side):
        client = side.client(side.filled(self._count))
        client.command("ENABLE QRESYNC")
        took = client.command(b"SELECT INBOX (QRESYNC (" + b" ".join(self._known) + b"))")
        client.close()
        return took


class Search(Work):
    """In a new session on a node that knows nothing."""

    count = 10000

    def __init__(self, name, what, target):
        self.name = name
        self.target = target
        self._what = what

    def before(self, side):
        side.forget(side.filled(self.count))

    def once(self, side):
        took = side.recover(side.filled(self.count))
        client = side.client(side.filled(self.count), "INBOX")
        took += client.command("SEARCH ", self._what)
        client.close()
        return took


def works(scale):
    """All of this file."""
    return [Qresync(count) for count in scale.sizes] + [
        Search("SEARCH HEADER 10000, cold", "HEADER X-None thisisnowhere", None),
        Search("SEARCH BODY 10000, cold", "BODY thisisnowhere", 1.7),
    ]
