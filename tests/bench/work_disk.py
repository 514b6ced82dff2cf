"""Bytes on the disk for each byte of mail that was delivered."""

import os

from corpus import Corpus
from work import Kind, Work

# tables with their indexes and TOAST
SIZE = """
SELECT sum(pg_catalog.pg_total_relation_size(c.oid))
  FROM pg_catalog.pg_class AS c
 WHERE c.relnamespace = 'pgbox'::regnamespace AND c.relkind = 'r'"""


class Disk(Work):
    """The corpus by LMTP, each mail to so many users; for files what du counts.

    pgbox's is the growth of a database that nothing else is in, after VACUUM."""

    sides = ("pgbox+disk", "sdbox+disk", "maildir+disk")
    rounds = 1

    def __init__(self, name, mails, recipients, target):
        self.name = name
        self._target = target
        self._mails = mails
        self._recipients = recipients

    def kinds(self):
        return {self.name: Kind("B/B", limit=self._target)}

    def once(self, side):
        users = [side.user() for _ in range(self._recipients)]
        before, total = self._size(side, users), 0
        session = side.node.lmtp()
        for message in Corpus().messages(self._mails, 7000000 + self._recipients * 100000):
            session.deliver(message, *users)
            total += len(message) * self._recipients
        session.close()
        return (self._size(side, users) - before) / total

    @staticmethod
    def _size(side, users):
        if not side.is_pgbox:
            return sum(folder_size(side.node.home(user)) for user in users)
        side.lab.cluster.psql("VACUUM", dbname=side.dbname)
        return int(side.lab.cluster.value(SIZE, dbname=side.dbname))


def folder_size(top):
    """What du says."""
    return 512 * sum(os.lstat(os.path.join(place, name)).st_blocks
                     for place, folders, files in os.walk(top) for name in folders + files)


def works(scale):
    """All of this file."""
    return [
        Disk("disk, each mail to one", scale.pick(1000, 3000), 1, 0.75),
        Disk("disk, each mail to ten", scale.pick(200, 600), 10, 0.15),
    ]
