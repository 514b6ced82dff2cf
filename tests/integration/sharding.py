"""Users of two databases on the same nodes, told apart by what userdb returns.

Two clusters and two nodes; each node has a service for signals of each cluster.
The names of users say where they are: a1, a2, ... and b1, b2, ..."""

import itertools
import json
import os

import proc
from content import LIMIT, append_big, drain_fetch, expected_checksum, grown
from doveadm import FIELDS, normal
from imap_list import names
from imapclient import Lit, flags_of
from mails import MIXED, PLAIN, fill, simple
from namespaces import SHARED
from push import NO_POLL, exists, fetched, idler, quickly
from node import SERVICE_NAME
from notifyclient import NotifyClient
from tap import Skip, eq, has, only, timeout, true

USERS = 40
BIG = 20 * 1024 * 1024
# the database of plugin { } is nobody's: whoever takes it is told apart
NOWHERE = "host=/nowhere dbname=nowhere user=pgbox_dovecot"
OTHER_SERVICE = """
service %(name)s {
  executable = %(dir)s/%(command)s -n %(name)s %(database)s
  user = %(user)s
  process_min_avail = 1
  process_limit = 1
  client_limit = 5000
  unix_listener %(name)s {
    mode = 0666
  }
}
"""
LOOKUP = """
plugin {
  pgbox_owner_lookup = yes
}
"""


class Shards:
    """The two clusters, and nodes whose users are in them."""

    def __init__(self, lab):
        self.lab = lab
        self.clusters = {"a": lab.cluster, "b": lab.other_cluster("pgb")}
        self.numbers = itertools.count(1)
        self.nodes = [self.node("shard1"), self.node("shard2")]

    def uri(self, node, shard):
        """How users of a cluster reach it: without spaces and for this node."""
        return ("postgresql://pgbox_dovecot@/pgbox?host=%s&port=5432&passfile=%s/pgpass"
                % (self.clusters[shard].socket, node.dir))

    def node(self, name):
        """A node that serves users of both."""
        lab = self.lab
        if name in lab.nodes:
            return lab.nodes[name]
        extra = SHARED % {"location": "pgbox:%h/../%%u/pgbox", "sep": "/"} + NO_POLL + LOOKUP
        node = lab.node(name, plugins="acl quota zlib", database=NOWHERE, extra=extra)
        services = "".join(OTHER_SERVICE % {
            "name": "notify-" + shard, "dir": node.dir, "command": SERVICE_NAME,
            "database": self.uri(node, shard), "user": node.mail_user} for shard in self.clusters)
        node.stop()
        node.set_extra(extra + services)
        with open(os.path.join(node.dir, "users"), "a") as handle:
            for shard in self.clusters:
                handle.write("".join(
                    node._user_line("%s%d" % (shard, number), self.fields(node, shard)) for number in range(1, USERS)))
        node.start()
        for shard in self.clusters:
            self.wait_vouched(node, shard)
        return node

    def fields(self, node, shard):
        """What userdb returns for users of a cluster."""
        return "userdb_pgbox_db=%s userdb_pgbox_notify=notify-%s" % (self.uri(node, shard), shard)

    def wait_vouched(self, node, shard):
        """Wait until the service of a cluster hears of all changes."""
        guid = self.clusters[shard].value("SELECT store_guid FROM pgbox.store").replace("-", "")

        def vouched():
            try:
                client = NotifyClient(os.path.join(node.dir, "run", "notify-" + shard))
                answer = client.watch("A", "nobody", 0, guid)
            except (OSError, proc.LabError):
                return False
            client.close()
            return answer[2] == "1"
        proc.wait_for(vouched, 20, "notify-%s of %s" % (shard, node.name))

    def user(self, shard):
        """A new user of that cluster, on all nodes."""
        name = "%s%d" % (shard, next(self.numbers))
        self.clusters[shard].create_account(name)
        return name

    def count(self, shard, user):
        """How many messages the cluster has of the user."""
        return int(self.clusters[shard].value(
            "SELECT count(*) FROM pgbox.message JOIN pgbox.mailbox m USING (mailbox_id) "
            "JOIN pgbox.account a USING (account_id) WHERE a.name = '%s'" % user))


def shards(lab):
    """The clusters and nodes of this run, made at first use."""
    if lab.is_pooled:
        raise Skip("these nodes reach their databases without a pooler")
    if not hasattr(lab, "shards"):
        lab.shards = Shards(lab)
    return lab.shards


def bodies(client, box):
    """All messages of a mailbox."""
    client.ok("SELECT ", box)
    if not client.ok("SEARCH ALL").numbers():
        return []
    return [item["BODY[]"] for item in client.ok("FETCH 1:* BODY.PEEK[]").fetches().values()]


@only("pgbox")
@timeout(120)
def test_login_and_delivery(lab):
    """One LMTP transaction delivers to users of both; each has it on each node."""
    world = shards(lab)
    one, two = world.nodes
    users = [world.user(shard) for shard in "abab"]
    for message in (MIXED, PLAIN, PLAIN.rstrip() + b"\r\n" + b"x" * 70 * 1000 * 4 + b"\r\n"):
        answers = lab.lmtp(one).deliver(message, *users)
        eq([answers[user][0] for user in users], [250] * 4, repr(answers))
    for user in users:
        first, second = (bodies(lab.imap(user, node), "INBOX") for node in (one, two))
        eq(len(first), 3)
        true(first[0].endswith(MIXED) and first[1].endswith(PLAIN), "as it was sent")
        eq(first, second)
        eq(world.count(user[0], user), 3)
        eq(world.count("b" if user[0] == "a" else "a", user), 0)
    stored = [cluster.value("SELECT count(*) FROM pgbox.body") for cluster in world.clusters.values()]
    eq(stored[0], stored[1])


def shared_box(world, owner, user, box="box"):
    """The owner's mailbox, and what it is for the other user."""
    lab = world.lab
    a = lab.imap(owner, world.nodes[0])
    a.ok("CREATE ", box)
    a.ok("SETACL %s " % box, user, " lrswite")
    c = lab.imap(user, world.nodes[0])
    theirs = "Shared/%s/%s" % (owner, box)
    has(theirs, names(c, "Shared/*"))
    return a, c, theirs


def check_shared(world, owner, user):
    """Copies, moves, appends and flags between a user's mail and another's."""
    a, c, theirs = shared_box(world, owner, user)
    fill(a, "box", 3)
    fill(c, "INBOX", 4, first=10)
    c.ok("SELECT INBOX")
    c.ok("STORE 1 +FLAGS (\\Flagged kw)")
    c.ok("COPY 1 ", theirs)
    eq(c.ok("MOVE 2:3 ", theirs).expunged(), [3, 2])
    c.ok("APPEND ", theirs, " ", Lit(MIXED))
    # the other way
    c.ok("SELECT ", theirs)
    eq(c.ok("UID SEARCH ALL").numbers(), [1, 2, 3, 4, 5, 6, 7])
    eq(flags_of(c.ok("FETCH 4 FLAGS").fetches()[4]["FLAGS"]) - {"\\Recent"}, {"\\Flagged", "kw"})
    c.ok("COPY 1 INBOX")
    c.ok("MOVE 2:3 INBOX")
    c.ok("STORE 1 +FLAGS (\\Seen)")
    wanted = [simple(n) for n in (1, 10, 11, 12)] + [MIXED]
    eq(bodies(a, "box"), wanted)
    eq(flags_of(a.ok("FETCH 1 FLAGS").fetches()[1]["FLAGS"]) - {"\\Recent"}, {"\\Seen"})
    mine = [simple(n) for n in (10, 13, 1, 2, 3)]
    eq(bodies(c, "INBOX"), mine)
    for name, box, messages in ((owner, "box", wanted), (user, "INBOX", mine)):
        eq(bodies(world.lab.imap(name, world.nodes[1]), box), messages)
        eq(world.count(name[0], name), len(messages))


@only("pgbox")
@timeout(120)
def test_shared(lab):
    """COPY, MOVE, APPEND and STORE between a user of one and a folder in the other."""
    world = shards(lab)
    check_shared(world, world.user("b"), world.user("a"))
    check_shared(world, world.user("a"), world.user("b"))
    check_shared(world, world.user("b"), world.user("b"))


@only("pgbox")
@timeout(120)
def test_shared_of_same_names(lab):
    """The owner's name is taken in the user's own database, too: it isn't asked."""
    world = shards(lab)
    owner, user = world.user("b"), world.user("a")
    world.clusters["a"].create_account(owner)
    a, c, theirs = shared_box(world, owner, user)
    fill(a, "box", 2)
    eq(bodies(c, theirs), [simple(1), simple(2)])
    world.clusters["b"].psql("SELECT pgbox.account_set_quota('%s', 2, NULL)" % owner)
    eq(c.no("APPEND ", theirs, " ", Lit(PLAIN)).code, "OVERQUOTA")
    eq((world.count("a", owner), world.count("b", owner)), (0, 2))


@only("pgbox")
@timeout(60)
def test_owner_unknown(lab):
    """Who isn't in userdb has no folders, though both databases have the account."""
    world = shards(lab)
    node = world.nodes[0]
    for cluster in world.clusters.values():
        cluster.create_account("c99")
    c = lab.imap(world.user("a"), node)
    c.no("SELECT Shared/c99/INBOX")
    c.no("APPEND Shared/c99/INBOX ", Lit(PLAIN))


@only("pgbox")
@timeout(60)
def test_owner_without_database(lab):
    """userdb returns no pgbox_db for the owner: an error, and no guess."""
    world = shards(lab)
    node = world.nodes[0]
    user = world.user("a")
    node.expect_log("it returns no pgbox_db")
    lab.cluster.create_account("u1")
    lab.imap(user, node).no("SELECT Shared/u1/INBOX")
    # Dovecot tries twice, and the log is written by another process
    proc.wait_for(lambda: node.log_since_mark().count("it returns no pgbox_db") >= 2, 10, "the log")


@only("pgbox")
@timeout(120)
def test_big_message(lab):
    """20 MB copied and moved across and back: identical, and the process stays small."""
    if os.environ.get("PGBOX_TEST_VALGRIND") or os.environ.get("PGBOX_TEST_PRELOAD"):
        raise Skip("memory is measured without instruments")
    world = shards(lab)
    owner, user = world.user("b"), world.user("a")
    a, c, theirs = shared_box(world, owner, user)
    fill(c, "INBOX", 1)
    c.ok("SELECT INBOX")
    c.ok("MOVE 1 ", theirs)
    a.ok("SELECT box")
    a.ok("UID STORE 1 +FLAGS (\\Deleted)")
    a.ok("EXPUNGE")
    total = append_big(c, BIG)
    c.ok("NOOP")
    pid = world.nodes[0].imap_pids(user)[0]
    proc.reset_peak(pid)
    before = proc.memory_of(pid)
    c.ok("COPY 1 ", theirs, timeout=60)
    true(grown(pid, before) < LIMIT, "COPY: grew by %d KB" % (grown(pid, before) // 1024))
    c.ok("SELECT ", theirs)
    c.ok("MOVE 1 INBOX", timeout=60)
    true(grown(pid, before) < LIMIT, "MOVE: grew by %d KB" % (grown(pid, before) // 1024))
    c.ok("SELECT INBOX")
    eq(c.ok("UID SEARCH ALL").numbers(), [2, 3])
    c.ok("STORE 1 +FLAGS.SILENT (\\Deleted)")
    c.ok("EXPUNGE")
    eq(drain_fetch(c, total), expected_checksum(total))
    digests = [cluster.value("SELECT encode(digest, 'hex') FROM pgbox.body WHERE size > 10000000")
               for cluster in world.clusters.values()]
    eq(digests[0], digests[1])


@only("pgbox")
@timeout(120)
def test_push(lab):
    """IDLE on one node is told at once of what happens on the other, for users of both."""
    world = shards(lab)
    one, two = world.nodes
    for shard in "ab":
        user = world.user(shard)
        writer = lab.imap(user, one)
        waiting, _ = idler(lab, user, two)
        writer.ok("APPEND INBOX ", Lit(simple(1)))
        quickly(waiting, exists(1))
        eq(lab.lmtp(one).deliver(PLAIN, user)[user][0], 250)
        quickly(waiting, exists(2))
        writer.ok("SELECT INBOX")
        writer.ok("STORE 1 +FLAGS (\\Flagged)")
        quickly(waiting, fetched("Flagged"))


@only("pgbox")
@timeout(120)
def test_push_shared(lab):
    """The same on a folder whose owner is in the other database, in both directions."""
    world = shards(lab)
    owner, user = world.user("b"), world.user("a")
    a, _, theirs = shared_box(world, owner, user)
    waiting, _ = idler(lab, user, world.nodes[0], theirs)
    other = lab.imap(owner, world.nodes[1])
    other.ok("APPEND box ", Lit(simple(1)))
    quickly(waiting, exists(1))
    a.ok("SELECT box")
    tag = a.idle()
    lab.imap(user, world.nodes[0]).ok("APPEND ", theirs, " ", Lit(simple(2)))
    quickly(a, exists(2))
    a.done(tag)
    distant, _ = idler(lab, owner, world.nodes[1], "box")
    lab.imap(user, world.nodes[0]).ok("APPEND ", theirs, " ", Lit(simple(3)))
    quickly(distant, exists(3))


# -- doveadm --------------------------------------------------------------

@only("pgbox")
@timeout(120)
def test_doveadm_copies(lab):
    """copy, move and import from a user of the other database."""
    world = shards(lab)
    node = world.nodes[0]
    for source, target in ("ab", "ba"):
        user, other = world.user(source), world.user(target)
        c, d = lab.imap(user, node), lab.imap(other, node)
        fill(c, "INBOX", 4)
        node.doveadm("copy", "INBOX", "user", user, "mailbox", "INBOX", "uid", "1", user=other)
        node.doveadm("move", "INBOX", "user", user, "mailbox", "INBOX", "uid", "2:3", user=other)
        eq(bodies(d, "INBOX"), [simple(n) for n in (1, 2, 3)])
        eq(bodies(c, "INBOX"), [simple(n) for n in (1, 4)])
        eq((world.count(source, user), world.count(target, other)), (2, 3))
        node.doveadm("import", "-U", user, "pgbox:~/pgbox", "old", "mailbox", "INBOX", user=other)
        eq(bodies(d, "old/INBOX"), [simple(n) for n in (1, 4)])


def picture(node, user):
    """All that dsync preserves: {mailbox: (status, [message rows])}."""
    status = node.doveadm("mailbox", "status", "uidvalidity uidnext messages", "*", user=user).stdout.decode()
    result = {}
    for line in status.splitlines():
        name, _, numbers = line.partition(" messages=")
        rows = node.doveadm("fetch", FIELDS, "mailbox", name, user=user, flags=("-f", "json")).stdout.decode()
        result[name] = normal((numbers, rows.replace("\\\\Recent", "")))
    return result


@only("pgbox")
@timeout(120)
def test_backup_across(lab):
    """doveadm backup from one database to the other: UIDs, GUIDs, flags, bytes."""
    world = shards(lab)
    node = world.nodes[0]
    user, other = world.user("a"), world.user("b")
    c = lab.imap(user, node)
    c.ok("CREATE Archive/2020")
    c.ok("APPEND Archive/2020 (\\Seen kw) ", Lit(MIXED), " ", Lit(PLAIN))
    fill(c, "INBOX", 5)
    c.ok("SELECT INBOX")
    c.ok("STORE 3 +FLAGS (\\Deleted)")
    c.ok("EXPUNGE")
    c.ok("STORE 2 +FLAGS (\\Flagged \\Answered)")
    node.doveadm("backup", "/usr/bin/doveadm", "-c", node.conf, "dsync-server", "-u", other, user=user)
    wanted = picture(node, user)
    eq(picture(node, other), wanted)
    eq(json.dumps(wanted).count('"uid"'), 6)
    eq(picture(world.nodes[1], other), wanted)
