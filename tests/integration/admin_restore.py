"""A backup is restored, clients know more than it: no UID means another message.

pgbox only. Clients keep caches of what they saw after the backup was taken."""

import os
import re

import proc
from cache_truth import Truth, check
from cluster import bindir
from imapclient import Lit
from mails import simple
from restored import Restored, archive_wal
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


class Story:
    """Two nodes, three devices: one ahead on each node, one from before."""

    def __init__(self, lab, nodes):
        self.lab, self.nodes = lab, nodes
        self.user = lab.user(*nodes)
        self.client = lab.imap(self.user, nodes[0])
        self.client.ok("CREATE box")
        append(self.client, "INBOX", *["before %d" % n for n in range(6)])
        append(self.client, "box", "in the box")
        self.early = Device(lab, self.user, nodes[0])
        for folder in FOLDERS[:2]:
            self.early.sync(folder)
        self.devices = []

    def go_on(self):
        """What will be lost, and is seen."""
        c = self.client
        c.ok("SELECT INBOX")
        c.ok("STORE 1:2 +FLAGS (\\Seen own)")
        c.ok("STORE 3 +FLAGS (\\Deleted)")
        c.ok("EXPUNGE")
        append(c, "INBOX", "lost 1", "lost 2", "lost 3")
        c.ok("COPY 1 box")
        c.ok("CREATE late")
        append(c, "late", "lost 4")
        self.devices = [Device(self.lab, self.user, node) for node in self.nodes]
        for device in self.devices:
            for folder in FOLDERS:
                device.sync(folder)
        eq(sorted(self.devices[0].subjects["INBOX"]), [1, 2, 4, 5, 6, 7, 8, 9])

    def go_on_without(self, c):
        """It is lost: nothing that comes afterwards is taken for it."""
        old_late = self.devices[0].caches["late"].validity
        c.ok("CREATE late")
        for folder in FOLDERS:
            append(c, folder, "after 1", "after 2", "after 3")
        for turn in range(2):
            for device, node in zip(self.devices + [self.early], self.nodes[::-1] + self.nodes[:1]):
                device.move_to(self.lab, self.user, node)
                for folder in FOLDERS:
                    agrees(self.lab, self.user, device, folder)
            c.ok("SELECT INBOX")
            c.ok("STORE %d +FLAGS (\\Flagged)" % (turn + 1))
            c.ok("STORE %d +FLAGS (\\Deleted)" % (turn + 4))
            c.ok("EXPUNGE")
        true(self.devices[0].caches["late"].validity > old_late, "a mailbox of the same name is another one")
        for node in self.nodes:
            check(self.lab, self.lab.imap(self.user, node), self.user)
        eq(self.lab.cluster.psql("SELECT * FROM pgbox.invariant_violations"), [])


@only("pgbox")
@timeout(120)
def test_restore_of_a_backup(lab):
    """A dump: after_restore() is to be called."""
    nodes = [lab.node(), lab.node("second")]
    story = Story(lab, nodes)
    backup = os.path.join(lab.dir, "backup")
    tool(lab, "pg_dump", "-Fc", "-f", backup, lab.cluster.uri())
    story.go_on()
    restore(lab, backup, nodes)
    lab.cluster.psql("SELECT * FROM pgbox.after_restore()")
    for node in nodes:
        node.start()
    story.go_on_without(lab.imap(story.user))


@only("pgbox")
@timeout(120)
def test_point_in_time(lab):
    """A base backup and WAL: the end of recovery is noticed by itself."""
    nodes = [lab.node(), lab.node("second")]
    archive_wal(lab.cluster)
    restored = Restored(lab.cluster, lab.dir)
    story = Story(lab, nodes)
    then = lab.cluster.value("SELECT clock_timestamp()")
    story.go_on()
    for node in nodes:
        node.stop()
    restored.recover(then)
    lab.go_on_with(restored)
    for node in nodes:
        node.start()
    story.go_on_without(lab.imap(story.user))
    eq(lab.cluster.psql("SELECT outcome FROM pgbox.job WHERE what = 'failover'"), [["done"]])
