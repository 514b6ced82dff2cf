"""sql/pgbox-move: an account goes from one database to another, with all that its
clients know. The clusters and nodes are those of sharding.py."""

import itertools
import os
import random
import re
import signal
import subprocess
import threading
import time

import proc
from cluster import quote
from imapclient import ImapError, Lit, flags_of
from mails import MIXED, PLAIN, attachments, fill, simple
from sharding import BIG, append_big, drain_fetch, expected_checksum, shards
from tap import eq, has, only, timeout, true
from two_nodes import Cache, resync

TOOL = os.path.join(proc.ROOT, "sql", "pgbox-move")


def command(world, source, user, *args):
    """The tool's command line and environment."""
    target = "ba"["ab".index(source)]
    one, two = world.clusters[source], world.clusters[target]
    env = dict(os.environ, PATH=one._bin + ":" + os.environ.get("PATH", ""))
    return [TOOL, "--from", one.uri(), "--to", two.uri(), user] + list(args), env


def move(world, source, user, *args, check=True):
    """Run the tool; returns what it says."""
    argv, env = command(world, source, user, *args)
    done = proc.run(argv, env=env, check=check)
    return (done.stdout + done.stderr).decode()


def switch(world, user, shard):
    """Let userdb say that the user is in that database."""
    for node in world.nodes:
        path = os.path.join(node.dir, "users")
        with open(path) as handle:
            lines = [line for line in handle if not line.startswith(user + ":")]
        with open(path + ".new", "w") as handle:
            handle.write("".join(lines) + node._user_line(user, world.fields(node, shard)))
        os.chmod(path + ".new", 0o644)
        os.rename(path + ".new", path)
    time.sleep(1.1)


def client(world, user, node=0):
    """A session that knows QRESYNC."""
    c = world.lab.imap(user, world.nodes[node])
    c.ok("ENABLE QRESYNC")
    return c


def lived_in(world, user):
    """An account with a bit of everything; returns its session."""
    c = client(world, user)
    for name in ("one", "one/two", "gone", "deleted", "&APw-"):
        c.ok('CREATE "', name, '"')
    c.ok("CREATE only/leaf")
    c.ok("SUBSCRIBE one")
    fill(c, "INBOX", 12)
    c.ok("APPEND one (\\Seen \\Flagged kw1 kw2) ", Lit(MIXED), " (kw2) ", Lit(PLAIN))
    c.ok("APPEND deleted ", Lit(PLAIN))
    c.ok("SELECT INBOX")
    c.ok("STORE 1:3 +FLAGS (\\Answered kw2)")
    c.ok("STORE 2 -FLAGS (kw2)")
    c.ok("COPY 4:6 one/two")
    c.ok("MOVE 7:8 one")
    c.ok("UID STORE 9,10 +FLAGS (\\Deleted)")
    c.ok("EXPUNGE")
    c.ok("DELETE deleted")
    c.ok("DELETE one/two")
    c.ok("CREATE one/two")
    c.ok('SETMETADATA INBOX (/private/comment "mine" /shared/comment "ours")')
    return c


BOXES = ("INBOX", "one", "one/two", "gone", "only/leaf")


def remember(c):
    """What a client with caches knows of the account."""
    caches = {}
    for box in BOXES:
        cache = Cache()
        reply = resync(c, box, cache)
        true(reply.ok, box)
        cache.validity = int(reply.untagged_code("UIDVALIDITY").split()[-1])
        cache.highest = int(reply.untagged_code("HIGHESTMODSEQ").split()[-1])
        if reply.number("EXISTS"):
            for item in c.ok("UID FETCH 1:* (FLAGS MODSEQ)").fetches().values():
                cache.rows[int(item["UID"])] = (flags_of(item["FLAGS"]) - {"\\Recent"}, item["MODSEQ"])
        caches[box] = cache
    return caches


def untouched(caches, c):
    """On resynchronising nothing is new, and all is as it was."""
    for box, cache in caches.items():
        reply = c.ok("SELECT ", box, " (QRESYNC (%d %d))" % (cache.validity, cache.highest))
        eq((reply.all("VANISHED"), reply.fetches()), ([], {}), box)
    now = remember(c)
    for box, cache in caches.items():
        eq((now[box].validity, now[box].highest, now[box].rows), (cache.validity, cache.highest, cache.rows), box)


def history(world, shard, user):
    """What the database has of the account, tombstones and deleted mailboxes too."""
    return world.clusters[shard].psql(
        "SELECT m.name, m.guid, m.uidvalidity, m.deleted_at, e.uid, e.modseq, e.guid, e.content_id IS NULL, e.reason"
        " FROM pgbox.mailbox m JOIN pgbox.account a USING (account_id) LEFT JOIN pgbox.expunged e USING (mailbox_id)"
        " WHERE a.name = %s ORDER BY 1, 2, 4, 5" % quote(user))


def state(world, shard, user):
    """Whether the account is open there."""
    rows = world.clusters[shard].psql("SELECT enabled, deleted_at IS NULL FROM pgbox.account WHERE name = %s" % quote(user))
    return rows[0] if rows else None


@only("pgbox")
@timeout(180)
def test_move(lab):
    """All that clients and administrators know is the same afterwards; --finish removes the rest."""
    world = shards(lab)
    user, other = world.user("a"), world.user("b")
    c = lived_in(world, user)
    source, target = world.clusters["a"], world.clusters["b"]
    source.psql("SELECT pgbox.account_set_quota(%s, 1000, 1000000000); SELECT pgbox.account_set_retention(%s, '90 days')"
                % (quote(user), quote(user)))
    # one of the bodies is there already
    eq(lab.lmtp(world.nodes[0]).deliver(MIXED, other)[other][0], 250)
    caches, before = remember(c), history(world, "a", user)
    password = source.value("SELECT password_hash FROM pgbox.account WHERE name = %s" % quote(user))
    has("open in the database of --to", move(world, "a", user))
    # who was logged in writes no more
    for command_ in ("APPEND INBOX ", "APPEND one "):
        reply = c.cmd(command_, Lit(PLAIN))
        true(not reply.ok, repr(reply))
    c.close()
    eq((state(world, "a", user), state(world, "b", user)), (["f", "f"], ["t", "t"]))
    eq(history(world, "b", user), before)
    eq(target.value("SELECT password_hash FROM pgbox.account WHERE name = %s" % quote(user)), password)
    eq(target.psql("SELECT messages, bytes, retention FROM pgbox.account JOIN pgbox.account_quota USING (account_id)"
                   " WHERE name = %s" % quote(user)), [["1000", "1000000000", "90 days"]])
    # mail that comes before userdb knows is not refused for good
    world.nodes[0].expect_log("there is no account", "account", "mailbox")
    code = lab.lmtp(world.nodes[0]).deliver(PLAIN, user)[user][0]
    true(400 <= code < 500, "%d" % code)
    switch(world, user, "b")
    for node in (0, 1):
        c = client(world, user, node)
        untouched(caches, c)
    eq(c.ok('GETMETADATA INBOX (/private/comment)').one("METADATA")[-1][-1], b"mine")
    c.ok("APPEND INBOX ", Lit(simple(99)))
    target.psql("SELECT pgbox.folder_undelete(%s, 'deleted')" % quote(user))
    eq(c.ok("SELECT deleted").number("EXISTS"), 1)
    eq(c.ok("FETCH 1 BODY.PEEK[]").fetches()[1]["BODY[]"], PLAIN)
    has("moved already", move(world, "a", user))
    move(world, "a", user, "--finish")
    eq(state(world, "a", user), None)


def open_somewhere(world, user):
    """Where the account takes writes: never in both databases."""
    found = [shard for shard in "ab" if state(world, shard, user) == ["t", "t"]]
    true(len(found) < 2, "open in both")
    return found[0] if found else None


def killed(world, user, line, delay):
    """Run the tool and kill it so long after it has said that line; returns what it said."""
    argv, env = command(world, "a", user)
    done = subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said = b""
    for row in done.stdout:
        said += row
        if line in row:
            break
    time.sleep(delay)
    done.send_signal(signal.SIGKILL)
    done.wait()
    said += done.stdout.read()
    # its sessions end with it
    for cluster in world.clusters.values():
        proc.wait_for(lambda cluster=cluster: cluster.value(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgbox-move'") == "0", 30, "its sessions to end")
    return said.decode()


def change(rng, c, number):
    """A client does something between two runs."""
    fill(c, "INBOX", 2, first=number)
    c.ok("SELECT INBOX")
    uids = c.ok("UID SEARCH ALL").numbers()
    c.ok("UID STORE %d +FLAGS (\\Flagged kw%d)" % (rng.choice(uids), number))
    c.ok("UID MOVE %d one" % rng.choice(uids))
    uids = c.ok("UID SEARCH ALL").numbers()
    c.ok("UID STORE %d +FLAGS (\\Deleted)" % rng.choice(uids))
    c.ok("EXPUNGE")
    c.ok("RENAME one/two one/%d" % number)
    c.ok("CREATE one/two")


@only("pgbox")
@timeout(240)
def test_killed(lab):
    """kill -9 of the tool at any time: the account is open in one database at most, and the next run ends it."""
    world = shards(lab)
    rng = random.Random(20261128)
    user = world.user("a")
    lived_in(world, user).close()
    moments = ([(b"copied", rng.uniform(0, 0.3))]
               + [(b"freezing", delay / 8) for delay in range(4)] + [(b"closed", 0)])
    for number, (line, delay) in enumerate(moments):
        if open_somewhere(world, user) == "a":
            c = client(world, user)
            change(rng, c, 100 + 10 * number)
            caches, before = remember(c), history(world, "a", user)
            c.close()
        killed(world, user, line, delay)
        print("# killed %.3f s after %s: open in %s" % (delay, line.decode(), open_somewhere(world, user)))
        if open_somewhere(world, user) != "a":
            break
    move(world, "a", user)
    eq(open_somewhere(world, user), "b")
    eq(history(world, "b", user), before)
    switch(world, user, "b")
    untouched(caches, client(world, user))
    eq(state(world, "a", user), ["f", "f"])
    eq([cluster.value("SELECT count(*) FROM pgbox.content c WHERE NOT EXISTS (SELECT 1 FROM pgbox.message g WHERE"
                      " g.content_id = c.content_id) AND NOT EXISTS (SELECT 1 FROM pgbox.expunged e WHERE e.content_id = c.content_id)")
        for cluster in world.clusters.values()], ["0", "0"])


@only("pgbox")
@timeout(120)
def test_killed_between(lab):
    """kill -9 when it is closed in one database and not open in the other: mail waits, the next run opens it."""
    world = shards(lab)
    user = world.user("a")
    c = lived_in(world, user)
    caches = remember(c)
    c.close()
    # the command's parent is the tool
    has("closed in the database of --from", move(world, "a", user, "--switch", "kill -9 $PPID", check=False))
    eq((state(world, "a", user), state(world, "b", user)), (["f", "f"], ["f", "f"]))
    node = world.nodes[0]
    node.expect_log("account", "mailbox")
    for shard in "ab":
        switch(world, user, shard)
        code = lab.lmtp(node).deliver(PLAIN, user)[user][0]
        true(400 <= code < 500, "%s: %d" % (shard, code))
    has("the account is closed", move(world, "a", user, "--abort", check=False))
    has("isn't open", move(world, "a", user, "--finish", check=False))
    has("the command of --switch failed", move(world, "a", user, "--switch", "false", check=False))
    eq(open_somewhere(world, user), "b")
    untouched(caches, client(world, user))


class Writer(threading.Thread):
    """Appends and expunges until the server refuses; knows what it was told OK of."""

    def __init__(self, c, name):
        super().__init__()
        self.client = c
        self.name = name
        self.numbers = itertools.count(1)
        self.there = set()
        self.last = None

    def run(self):
        for number in self.numbers:
            text = "%s-%d" % (self.name, number)
            try:
                reply = self.client.cmd("APPEND INBOX ", Lit(simple(number, subject=text)), timeout=60)
            except ImapError:
                return
            if not reply.ok:
                self.last = repr(reply)
                return
            self.there.add(text)


@only("pgbox")
@timeout(180)
def test_written_meanwhile(lab):
    """Sessions of two nodes write all the time: what they were told OK of is there afterwards, and no more."""
    world = shards(lab)
    user = world.user("a")
    lived_in(world, user).close()
    writers = [Writer(client(world, user, number % 2), "w%d" % number) for number in range(3)]
    for node in world.nodes:
        node.expect_log("account", "mailbox", "IMAP session state is inconsistent", "pgbox")
    for writer in writers:
        writer.start()
    move(world, "a", user)
    for writer in writers:
        writer.join(60)
        true(not writer.is_alive(), "refused at last")
    switch(world, user, "b")
    c = client(world, user)
    c.ok("SELECT INBOX")
    found = c.ok("FETCH 1:* BODY.PEEK[HEADER.FIELDS (SUBJECT)]", timeout=60).fetches().values()
    subjects = [item["BODY[HEADER.FIELDS (SUBJECT)]"].decode().partition(": ")[2].strip() for item in found]
    written = sorted(word for word in subjects if re.fullmatch(r"w\d-\d+", word))
    eq(written, sorted(set().union(*(writer.there for writer in writers))))
    true(len(written) > 3, "they did write")
    print("# %d messages came meanwhile" % len(written))


@only("pgbox")
@timeout(120)
def test_abort(lab):
    """A move that was begun and is given up leaves nothing in the second database."""
    world = shards(lab)
    user, other = world.user("a"), world.user("a")
    lived_in(world, user).close()
    counts = "SELECT (SELECT count(*) FROM pgbox.content), (SELECT count(*) FROM pgbox.body), (SELECT count(*) FROM pgbox.account)"
    before = world.clusters["b"].psql(counts)
    has("the account goes on", move(world, "a", user, "--copy-only"))
    eq((state(world, "a", user), state(world, "b", user)), (["t", "t"], ["f", "f"]))
    world.clusters["b"].psql("SELECT * FROM pgbox.purge()")
    eq(world.clusters["b"].verify(), "")
    move(world, "a", user, "--abort")
    eq(world.clusters["b"].psql(counts), before)
    client(world, user).ok("APPEND INBOX ", Lit(PLAIN))
    for args, words in ((("--finish",), "hasn't been moved"), (("--abort",), "no move of this account is under way")):
        has(words, move(world, "a", user, *args, check=False))
    has("there is no account", move(world, "a", "nobody", check=False))
    world.clusters["b"].create_account(other)
    has("in both databases", move(world, "a", other, check=False))
    eq((state(world, "a", other), state(world, "b", other)), (["t", "t"], ["t", "t"]))


@only("pgbox")
@timeout(240)
def test_large(lab):
    """10,000 messages and a large one: the freeze takes seconds, the bytes are the same."""
    world = shards(lab)
    user = world.user("a")
    c = client(world, user)
    total = append_big(c, BIG)
    fill(c, "INBOX", 2499, first=2)
    c.ok("SELECT INBOX")
    for _ in range(3):
        c.ok("COPY 1:2500 INBOX", timeout=60)
    caches = remember_one(c)
    c.close()
    said = move(world, "a", user)
    frozen = int(said.partition("frozen for ")[2].split()[0])
    print("# frozen for %d ms: %s" % (frozen, said.strip().splitlines()[-1]))
    true(frozen < 20000, said)
    switch(world, user, "b")
    c = client(world, user)
    eq(remember_one(c), caches)
    c.ok("SELECT INBOX")
    eq(drain_fetch(c, total), expected_checksum(total))


@only("pgbox")
@timeout(120)
def test_base64(lab):
    """It goes as it is stored, but to a database that wants none of it decoded."""
    world = shards(lab)
    pieces = "SELECT count(b.base64) + count(k.base64) FROM pgbox.body AS b LEFT JOIN pgbox.body_chunk AS k USING (body_id)"
    for wanted, seed in (("true", 11), ("false", 12)):
        user, message = world.user("a"), attachments(seed)
        c = client(world, user)
        c.ok("APPEND INBOX ", Lit(message))
        c.close()
        before = int(world.clusters["b"].value(pieces))
        world.clusters["b"].psql("UPDATE pgbox.store SET base64_decoded = " + wanted)
        try:
            move(world, "a", user)
        finally:
            world.clusters["b"].psql("UPDATE pgbox.store SET base64_decoded = true")
        eq(int(world.clusters["b"].value(pieces)) > before, wanted == "true")
        switch(world, user, "b")
        c = client(world, user)
        c.ok("SELECT INBOX")
        true(c.ok("FETCH 1 BODY.PEEK[]").fetches()[1]["BODY[]"] == message, "the same bytes")
        c.close()
    eq(world.clusters["b"].value("SELECT wrong FROM pgbox.content_verify()"), "{}")


def remember_one(c):
    """UIDVALIDITY, HIGHESTMODSEQ and all rows of INBOX."""
    reply = c.ok("SELECT INBOX")
    rows = c.ok("UID FETCH 1:* (FLAGS MODSEQ)", timeout=60).fetches().values()
    return (reply.untagged_code("UIDVALIDITY"), reply.untagged_code("HIGHESTMODSEQ"),
            sorted((int(row["UID"]), tuple(sorted(flags_of(row["FLAGS"]) - {"\\Recent"})), row["MODSEQ"]) for row in rows))
