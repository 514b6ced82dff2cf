"""A backup is restored, clients know more than it: no UID means another message.

pgbox only. Clients keep caches of what they saw after the backup was taken."""

import os
import re

import proc
from cache_truth import Truth, check
from cluster import bindir
from imapclient import Lit
from mails import simple
from tap import eq, only, timeout, true
from two_nodes import Cache, resync

FOLDERS = ("INBOX", "box", "late")


class Device:
    """A client with QRESYNC that also remembers what each UID's message is."""

    def __init__(self, lab, user, node):
        self.client = lab.imap(user, node)
        self.client.ok("ENABLE QRESYNC")
        self.caches = {}
        self.subjects = {}

    def sync(self, folder):
        """Open the folder as a client with a cache does; fetch what is new."""
        cache = self.caches.setdefault(folder, Cache())
        validity = cache.validity
        true(resync(self.client, folder, cache).ok, folder)
        if cache.validity != validity:
            self.subjects[folder] = {}
        new = [uid for uid in cache.rows if uid not in self.subjects[folder]]
        if new:
            self.subjects[folder].update(self.fetch(new))
        self.subjects[folder] = {uid: subject for uid, subject in self.subjects[folder].items() if uid in cache.rows}

    def fetch(self, uids):
        """{uid: subject} as the server has it."""
        got = self.client.ok("UID FETCH %s (BODY.PEEK[HEADER.FIELDS (SUBJECT)])" % ",".join(map(str, sorted(uids)))).fetches()
        return {int(item["UID"]): re.search(rb"Subject: (.*)\r", item["BODY[HEADER.FIELDS (SUBJECT)]"]).group(1).decode()
                for item in got.values()}

    def move_to(self, lab, user, node):
        """The same device, connected to a node."""
        self.client = lab.imap(user, node)
        self.client.ok("ENABLE QRESYNC")


def subjects(lab, user, folder):
    """{uid: subject} and flags by UID, from the database."""
    truth = Truth(lab, user, folder)
    rows = lab.cluster.psql("SELECT g.uid, substring(convert_from(c.header, 'UTF8') FROM 'Subject: ([^\\r\\n]*)') FROM pgbox.message g"
                            " JOIN pgbox.content c USING (content_id) WHERE g.mailbox_id = %s" % truth.mailbox_id)
    return {int(uid): subject for uid, subject in rows}, {uid: row[1] for uid, row in truth.rows.items()}


def agrees(lab, user, device, folder):
    """The device has what the database has, under the same UIDs."""
    device.sync(folder)
    known, flags = subjects(lab, user, folder)
    eq(device.subjects[folder], known, "%s: messages" % folder)
    eq(device.caches[folder].rows, flags, "%s: flags" % folder)


def append(client, folder, *names):
    """Add messages with these subjects."""
    for name in names:
        client.ok("APPEND ", folder, " ", Lit(simple(0, subject=name)))


def tool(lab, name, *args):
    """Run one of PostgreSQL's programs."""
    proc.run([os.path.join(bindir(), name)] + list(args))


def restore(lab, backup, nodes):
    """Into a fresh database; the nodes keep their indexes."""
    for node in nodes:
        node.stop()
    lab.cluster.terminate_backends()
    lab.cluster.psql("ALTER DATABASE pgbox RENAME TO lost", dbname="postgres")
    lab.cluster.psql("CREATE DATABASE pgbox TEMPLATE template0", dbname="postgres")
    tool(lab, "pg_restore", "-d", lab.cluster.uri(), "--exit-on-error", backup)


@only("pgbox")
@timeout(120)
def test_restore_of_a_backup(lab):
    """Two nodes, three devices: one ahead on each node, one from before."""
    user = lab.user()
    nodes = (lab.node(), lab.node("second"))
    nodes[1].add_user(user)
    c = lab.imap(user)
    c.ok("CREATE box")
    append(c, "INBOX", *["before %d" % n for n in range(6)])
    append(c, "box", "in the box")
    early = Device(lab, user, nodes[0])
    for folder in FOLDERS[:2]:
        early.sync(folder)

    backup = os.path.join(lab.dir, "backup")
    tool(lab, "pg_dump", "-Fc", "-f", backup, lab.cluster.uri())

    # what the backup doesn't know of
    c.ok("SELECT INBOX")
    c.ok("STORE 1:2 +FLAGS (\\Seen own)")
    c.ok("STORE 3 +FLAGS (\\Deleted)")
    c.ok("EXPUNGE")
    append(c, "INBOX", "lost 1", "lost 2", "lost 3")
    c.ok("COPY 1 box")
    c.ok("CREATE late")
    append(c, "late", "lost 4")
    devices = [Device(lab, user, node) for node in nodes]
    for device in devices:
        for folder in FOLDERS:
            device.sync(folder)
    eq(sorted(devices[0].subjects["INBOX"]), [1, 2, 4, 5, 6, 7, 8, 9])
    old_late = devices[0].caches["late"].validity

    restore(lab, backup, nodes)
    lab.cluster.psql("SELECT * FROM pgbox.after_restore()")
    for node in nodes:
        node.start()

    c = lab.imap(user)
    c.ok("CREATE late")
    for folder in FOLDERS:
        append(c, folder, "after 1", "after 2", "after 3")
    for turn in range(2):
        for device, node in zip(devices + [early], nodes[::-1] + nodes[:1]):
            device.move_to(lab, user, node)
            for folder in FOLDERS:
                agrees(lab, user, device, folder)
        c.ok("SELECT INBOX")
        c.ok("STORE %d +FLAGS (\\Flagged)" % (turn + 1))
        c.ok("STORE %d +FLAGS (\\Deleted)" % (turn + 4))
        c.ok("EXPUNGE")
    true(devices[0].caches["late"].validity > old_late, "a mailbox of the same name is another one")
    for node in nodes:
        check(lab, lab.imap(user, node), user)
