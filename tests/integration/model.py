"""Random histories on three nodes, one command at a time, against a model.

Unlike two_nodes.py nothing happens at once here, so that the model (see
model_state.py) can say in advance what each command does: to flags, UIDs and
modseqs. The third node has its indexes in memory, and reads from a standby that
is behind. Clients keep what they know of
a mailbox and resynchronise at random moments on any node, some by QRESYNC and
some by CHANGEDSINCE; so do copies of clients that went offline at any time
before. Meanwhile index folders are deleted and damaged and tombstones pruned.

An administrator changes all of it in psql (see model_admin.py). At any time some
clients wait in IDLE (see model_peer.py), on any node: after each step they have
been told what the model says, and nothing else.

    PGBOX_TEST_SEED      run this history only
    PGBOX_TEST_SECONDS   go on for so long with histories that nobody has seen yet;
                         without it the first ones, the same each time"""

import contextlib
import os
import random
import shutil
import time

from cache_exact import prune
from cache_truth import Truth, damage, picture
from imapclient import Lit, parse_set
from mails import PLAIN, simple
from model_admin import FLAGS, KEYWORDS, ROLES, Transaction, names_of
from model_peer import SELECT_TRIES, Ended, Peer
from model_state import STEP, Box, Row, check_select, resync_condstore, resync_qresync
from push import NO_POLL, nodes, wait_vouched
from tap import eq, only, timeout, true

MAILBOXES = ("INBOX", "one", "two")
# a signal that was lost is made up for by nothing
# how far the standby is behind
LAG = "300ms"
NO_CHECK = "plugin {\n  pgbox_notify_check_interval = 1 hour\n}\n"
STEPS = 120
SECONDS = 50
CHECK_EVERY = 12
SNAPSHOTS = 12
GRAVES = """
SELECT e.uid, e.modseq, e.flags,
       coalesce((SELECT string_agg(k.name, ' ') FROM pgbox.mailbox_keyword k
                  WHERE k.mailbox_id = e.mailbox_id AND k.number = ANY (e.keywords)), ''),
       e.content_id IS NOT NULL, e.moved_to IS NOT NULL
  FROM pgbox.expunged e WHERE e.mailbox_id = %s
"""


class World:
    """One history."""

    def __init__(self, lab, seed):
        self.lab = lab
        self.seed = seed
        self.rng = random.Random(seed)
        lab.replica.delay(LAG)
        memory = lab.node("memory", notify=True, extra=NO_POLL + NO_CHECK, location=":INDEX=MEMORY",
                          replica=lab.replica.uri("pgbox_dovecot"))
        self.nodes = (*nodes(lab, "main", "second", extra=NO_CHECK), memory)
        wait_vouched(lab, memory)
        for node in self.nodes:
            # so says a session whose mailbox is deleted
            node.expect_log("Error: .*deleted under")
        self.user = lab.user()
        self.account_id = lab.cluster.value("SELECT account_id FROM pgbox.account WHERE name = '%s'" % self.user)
        self.story = []
        self.count = 0
        client = lab.imap(self.user)
        for name in MAILBOXES[1:]:
            client.ok("CREATE ", name)
        client.logout()
        self.boxes = {name: self.new_box(name) for name in MAILBOXES}
        # deleted ones with the names that they had, the last one last
        self.trash = []
        self.snapshots = []
        # how many pushes were waited for, and the longest time
        self.pushes, self.slowest = 0, 0.0
        # nodes whose indexes were damaged: a process may have one open that
        # another one has replaced since
        self.damaged = set()
        self.peers = [Peer(self, number) for number in range(5)]
        for _ in range(6):
            self.append(self.peers[0])

    def note(self, text):
        """Remember what was done."""
        self.story.append(text)

    def new_box(self, name):
        """A mailbox that was made just now."""
        return Box(int(Truth(self.lab, self.user, name).mailbox_id))

    def all_boxes(self):
        """Deleted ones, too."""
        return list(self.boxes.values()) + [box for _, box in self.trash]

    def save(self):
        """What undo() takes."""
        return [(box, box.saved()) for box in self.all_boxes()]

    @staticmethod
    def undo(before):
        """Messages are as they were."""
        for box, saved in before:
            box.undo(saved)

    # -- clients ------------------------------------------------------------

    def resync(self, client, qresync, name, memory, what="resync"):
        """Bring a client's memory up to date; then it is what the model says.

        Returns False if the mailbox can't be opened."""
        box = self.boxes[name]
        if not qresync:
            reply = resync_condstore(client, name, box, memory)
        else:
            known = ()
            if memory.rows and self.rng.random() < 0.5:
                known = sorted(memory.rows)
            reply = resync_qresync(client, name, box, memory, known)
        if reply.ok:
            memory.check(box, "%s of %s" % (what, name))
        return reply.ok

    def open(self, node, qresync=False):
        """A connection of its own."""
        client = self.lab.imap(self.user, node)
        if qresync:
            client.ok("ENABLE QRESYNC")
        return client

    def move_peer(self, peer):
        """Off, and on again at another node."""
        node = self.rng.choice(self.nodes)
        self.note("%d moves to %s" % (peer.number, node.name))
        peer.connect(node)
        peer.select(self.rng.choice(MAILBOXES))

    def snapshot(self, peer):
        """Somebody goes offline with what this client knows now."""
        if not peer.box or self.boxes[peer.name] is not peer.box:
            return
        self.snapshots.append((peer.name, peer.qresync, peer.memory.copy()))
        if len(self.snapshots) > SNAPSHOTS:
            del self.snapshots[self.rng.randrange(len(self.snapshots))]

    def wake(self):
        """Somebody who was offline comes back, on any node."""
        if not self.snapshots:
            return
        name, qresync, memory = self.rng.choice(self.snapshots)
        node = self.rng.choice(self.nodes)
        memory = memory.copy()
        self.note("offline client of %s at %d wakes on %s" % (name, memory.highest, node.name))
        for _ in range(SELECT_TRIES):
            client = self.open(node, qresync)
            done = self.resync(client, qresync, name, memory, "offline client")
            client.close()
            if done:
                return
        raise AssertionError("%s can't be opened" % name)

    # -- commands -----------------------------------------------------------

    def some(self, peer):
        """A few UIDs that it knows."""
        known = peer.known()
        if self.rng.random() < 0.25:
            return known
        return sorted(self.rng.sample(known, self.rng.randint(1, min(4, len(known)))))

    def some_flags(self):
        """A few flags and keywords."""
        return self.rng.sample(FLAGS + KEYWORDS, self.rng.randint(1, 3))

    def append(self, peer):
        """APPEND of one to three messages, sometimes with a date."""
        name = self.rng.choice(MAILBOXES)
        rows, pieces = [], []
        for _ in range(self.rng.choice((1, 1, 3))):
            self.count += 1
            flags = self.some_flags()
            date = None
            when = ""
            if self.rng.random() < 0.5:
                date = "%02d-May-2011 01:02:03" % (self.count % 28 + 1)
                when = '"%s +0000" ' % date
            rows.append(Row(flags, 0, date, self.count))
            pieces += [" (%s) %s" % (" ".join(flags), when), Lit(simple(self.count))]
        self.note("%d append %s" % (peer.number, name))
        reply = peer.run("APPEND ", name, *pieces)
        if self.is_refused(peer, reply):
            return
        true(reply.ok, repr(reply))
        word, validity, uids = reply.code.split(" ")
        box = self.boxes[name]
        eq((word, parse_set(uids)), ("APPENDUID", box.append(rows)))
        box.validity = box.validity or int(validity)
        eq(int(validity), box.validity)

    def is_refused(self, peer, reply):
        """Whether Dovecot refuses a mailbox as it finds its index damaged. Then
        nothing was done; checks would tell."""
        if reply.ok or peer.node not in self.damaged or \
                (reply.code != "SERVERBUG" and "deleted under us" not in reply.text):
            return False
        self.note("%d refused" % peer.number)
        peer.connect(peer.node)
        return True

    def store(self, peer):
        """UID STORE in all its forms."""
        uids, flags = self.some(peer), self.some_flags()
        how = self.rng.choice(("", "+", "-"))
        silent = self.rng.choice(("", ".SILENT"))
        since = peer.memory.highest if self.rng.random() < 0.25 else None
        if since and self.rng.random() < 0.3:
            since = max(0, since - STEP * self.rng.randint(1, 3))
        text = "UID STORE %s %s%sFLAGS%s (%s)" % (
            ",".join(map(str, uids)), "(UNCHANGEDSINCE %d) " % since if since is not None else "",
            how, silent, " ".join(flags))
        self.note("%d %s %s" % (peer.number, peer.name, text))
        reply = peer.client.cmd(text)
        true(reply.ok, repr(reply))
        refused = peer.box.store(uids, how, flags, since)
        word, _, modified = (reply.code or "").partition(" ")
        told = set(parse_set(modified)) if word == "MODIFIED" else set()
        eq(told & set(peer.box.rows), refused, "MODIFIED")
        if silent:
            peer.memory.store_silently(uids, how, set(flags), told)
        peer.learn(reply)

    def expunge(self, peer):
        """EXPUNGE and UID EXPUNGE of what the client knows as deleted."""
        uids = None if self.rng.random() < 0.3 else self.some(peer)
        # Without QRESYNC a client learns of expunges by number: of those that
        # it hasn't seen yet it couldn't tell which they are.
        while (not peer.qresync or self.rng.random() < 0.5) and peer.fetch_new().number("EXISTS"):
            pass
        known = set(peer.memory.rows)
        seen = {uid for uid, flags in peer.memory.rows.items() if "\\Deleted" in flags}
        text = "UID EXPUNGE " + ",".join(map(str, uids)) if uids else "EXPUNGE"
        self.note("%d %s %s" % (peer.number, peer.name, text))
        reply = peer.run(text)
        true(reply.ok, repr(reply))
        if peer.qresync:
            gone = {uid for item in reply.all("VANISHED") for uid in parse_set(item.data[-1])}
        else:
            gone = known - set(peer.memory.view)
        gone &= set(peer.box.rows)
        if uids:
            seen &= set(uids)
        deleted = {uid for uid, row in peer.box.rows.items() if "\\Deleted" in row.flags}
        eq(gone - deleted, set(), "expunged, but not deleted")
        eq((seen & deleted) - gone, set(), "deleted, but not expunged")
        peer.box.expunge(gone)

    def copy(self, peer, verb):
        """UID COPY and UID MOVE."""
        uids, name = self.some(peer), self.rng.choice(MAILBOXES)
        dest = self.boxes[name]
        text = "UID %s %s %s" % (verb, ",".join(map(str, uids)), name)
        self.note("%d %s %s" % (peer.number, peer.name, text))
        reply = peer.run(text)
        if self.is_refused(peer, reply):
            return
        there = [uid for uid in uids if uid in peer.box.rows]
        if reply.ok:
            code = reply.code if verb == "COPY" else None
            code = code or ("COPYUID " + reply.untagged_code("COPYUID")
                            if reply.untagged_code("COPYUID") else None)
            rows = [peer.box.rows[uid] for uid in there]
            if code and code.startswith("COPYUID"):
                _, _, sources, copies = code.split(" ")
                eq(parse_set(sources), there, "sources")
                eq(parse_set(copies), dest.append(rows), "copies")
            else:
                eq(there, [], "nothing was copied")
            if verb == "MOVE":
                peer.box.expunge(there, moved=True)
        else:
            true(len(there) < len(uids), "refused: %r" % reply)

    def command(self, peer):
        """Something that a client does; sometimes it waits in IDLE afterwards."""
        if peer.idle:
            self.note("%d leaves IDLE" % peer.number)
            peer.leave_idle()
        if not peer.box or self.rng.random() < 0.1:
            peer.select(self.rng.choice(MAILBOXES))
            self.note("%d selects %s" % (peer.number, peer.name))
        dice = self.rng.random()
        if not peer.memory.rows or dice < 0.14:
            self.append(peer)
        elif dice < 0.55:
            self.store(peer)
        elif dice < 0.67:
            self.expunge(peer)
        elif dice < 0.78:
            self.copy(peer, "COPY")
        elif dice < 0.9:
            self.copy(peer, "MOVE")
        else:
            peer.catch_up()
            self.note("%d caught up" % peer.number)
        if peer.box and self.rng.random() < 0.5:
            self.note("%d waits in IDLE" % peer.number)
            peer.send_idle()
            peer.begin_idle()

    def hear(self):
        """Whoever waits is told of what has happened."""
        for peer in self.peers:
            if peer.idle:
                with self.may_end(peer):
                    took = peer.hear()
                    self.pushes += took > 0
                    self.slowest = max(self.slowest, took)

    def hear_nothing(self, seconds=0):
        """Nobody is told any more."""
        time.sleep(seconds)
        for peer in self.peers:
            if peer.idle:
                with self.may_end(peer):
                    peer.hear_nothing()

    @contextlib.contextmanager
    def may_end(self, peer):
        """A session may end when it finds that its index was damaged."""
        try:
            yield
        except Ended as why:
            self.note("%s: %s" % (peer, why))
            true(peer.node in self.damaged, "%s: %s" % (peer, why))
            peer.connect(peer.node)

    # -- others -------------------------------------------------------------

    def deliver(self):
        """LMTP."""
        node = self.rng.choice(self.nodes)
        self.note("lmtp on " + node.name)
        code, _ = self.lab.lmtp(node).deliver(PLAIN, self.user)[self.user]
        if node in self.damaged and code == 451:
            return
        eq(code, 250)
        self.count += 1
        self.boxes["INBOX"].append([Row((), 0, None, self.count)])

    def sql(self):
        """An administrator in psql. Some clients begin to wait at that moment."""
        change = Transaction(self)
        text, end = change.write()
        early = [peer for peer in self.peers if peer.box and not peer.idle and self.rng.random() < 0.2]
        self.note("psql, as %s begin to wait in IDLE: %s" % ([peer.number for peer in early], text))
        for peer in early:
            peer.send_idle(racing=True)
        got = self.psql(text, check=end in ("COMMIT", "ROLLBACK"))
        for peer in early:
            peer.begin_idle()
        eq(sorted(got), sorted(change.rows), text)
        if end != "COMMIT":
            self.hear()
            self.hear_nothing(0.1)

    def psql(self, text, **kwargs):
        """The rows of all of its statements."""
        rows = self.lab.cluster.psql(text, **kwargs)
        # psql ends the last row of each statement by a newline
        return [line.split("\x1f") for row in rows for line in "\x1f".join(row).split("\n")]

    def tree(self):
        """Mailboxes swap their names, are replaced by new ones, or come back."""
        client = self.lab.imap(self.user, self.rng.choice(self.nodes))
        self.rng.choice((self.swap, self.replace, self.replace_by_sql, self.restore, self.restore, self.there_and_back))(client)
        client.close()
        for peer in self.peers:
            if not peer.box or self.boxes[peer.name] is peer.box:
                continue
            if peer.box not in self.boxes.values() and peer.idle:
                peer.hear_the_end()
            elif peer.idle:
                # it is told of what happens in the mailbox by its new name
                continue
            # names are all that an open session doesn't follow
            peer.connect(peer.node)

    def swap(self, client):
        """Two mailboxes get each other's names."""
        steps = (("one", "three"), ("two", "one"), ("three", "two"))
        if self.rng.random() < 0.4:
            self.note("swap one and two")
            for old, new in steps:
                client.ok("RENAME ", old, " ", new)
        else:
            sql = ["UPDATE pgbox.mailbox SET name = '%s' WHERE account_id = %s AND name = '%s' AND deleted_at IS NULL"
                   % (new, self.account_id, old) for old, new in steps]
            self.tree_sql("swap one and two", *sql)
        self.boxes["one"], self.boxes["two"] = self.boxes["two"], self.boxes["one"]

    def replace(self, client):
        """A mailbox is deleted and made anew, as clients do it."""
        name = self.rng.choice(MAILBOXES[1:])
        self.note("delete and create " + name)
        client.ok("DELETE ", name)
        client.ok("CREATE ", name)
        self.throw_away(name)
        self.boxes[name] = self.new_box(name)

    def tree_sql(self, what, *statements):
        """A transaction of an administrator."""
        role = self.rng.choice(ROLES)
        self.note("psql: %s: %s" % (what, "; ".join(statements)))
        self.psql("%sBEGIN;\n%s;\nCOMMIT" % (role, ";\n".join(statements)))

    def delete_sql(self, name):
        """One of the ways to delete a mailbox."""
        number = self.boxes[name].mailbox_id
        return self.rng.choice((
            "DELETE FROM pgbox.mailbox WHERE mailbox_id = %d" % number,
            "UPDATE pgbox.mailbox SET deleted_at = now() WHERE mailbox_id = %d" % number,
            "SELECT pgbox.folder_delete('%s', '%s')" % (self.user, name)))

    def throw_away(self, name):
        """The mailbox of this name was deleted."""
        self.trash.append((name, self.boxes.pop(name)))

    def replace_by_sql(self, _client):
        """A mailbox is deleted and made anew in psql; INBOX comes by itself."""
        name = self.rng.choice(MAILBOXES)
        sql = [self.delete_sql(name)]
        if name != "INBOX":
            sql.append("SELECT pgbox.folder_create('%s', '%s')" % (self.user, name))
        self.tree_sql("replace " + name, *sql)
        self.throw_away(name)
        self.boxes[name] = self.new_box(name)

    def restore(self, _client):
        """A deleted mailbox takes the place of another, which is deleted."""
        if not self.trash:
            return
        name = self.rng.choice(MAILBOXES[1:])
        old, back = self.rng.choice(self.trash)
        if self.rng.random() < 0.5:
            sql = [self.delete_sql(name),
                   "UPDATE pgbox.mailbox SET deleted_at = NULL, name = '%s' WHERE mailbox_id = %d" % (name, back.mailbox_id)]
        else:
            # the last one of that name
            back = [box for other, box in self.trash if other == old][-1]
            sql = ["SELECT pgbox.folder_undelete('%s', '%s', 'three')" % (self.user, old), self.delete_sql(name),
                   "SELECT pgbox.folder_rename('%s', 'three', '%s')" % (self.user, name)]
        self.tree_sql("restore %s of %d as %s" % (old, back.mailbox_id, name), *sql)
        self.trash = [(other, box) for other, box in self.trash if box is not back]
        self.throw_away(name)
        self.boxes[name] = back

    def there_and_back(self, _client):
        """A mailbox is deleted or renamed, and restored at once: nobody is told."""
        name = self.rng.choice(MAILBOXES[1:])
        number = self.boxes[name].mailbox_id
        self.tree_sql("%s there and back" % name, *self.rng.choice((
            ("UPDATE pgbox.mailbox SET deleted_at = now() WHERE mailbox_id = %d" % number,
             "UPDATE pgbox.mailbox SET deleted_at = NULL WHERE mailbox_id = %d" % number),
            ("UPDATE pgbox.mailbox SET name = 'three' WHERE mailbox_id = %d" % number,
             "UPDATE pgbox.mailbox SET name = '%s' WHERE mailbox_id = %d" % (name, number)))))
        self.hear_nothing(0.1)

    def administrate(self):
        """doveadm: what changes nothing, and what raises the counters."""
        node, name = self.rng.choice(self.nodes), self.rng.choice(MAILBOXES)
        box = self.boxes[name]
        if self.rng.random() < 0.5:
            self.note("force-resync %s on %s" % (name, node.name))
            node.doveadm("force-resync", name, user=self.user, check=node not in self.damaged)
            return
        before = box.uid_next, box.highest
        box.uid_next += self.rng.randint(1, 4)
        box.highest += STEP * self.rng.randint(1, 3)
        self.note("update %s to %d, %d on %s" % (name, box.uid_next, box.highest, node.name))
        done = node.doveadm("mailbox", "update", "--min-next-uid", str(box.uid_next), "--min-highest-modseq",
                            str(box.highest - 1), name, user=self.user, check=node not in self.damaged)
        if done.returncode:
            # Dovecot finds the damage, and does nothing
            self.note("refused")
            box.uid_next, box.highest = before
            return
        box.highest += STEP

    def wipe(self):
        """The index folder of a node goes, or one of its files is damaged."""
        node = self.rng.choice(self.nodes[:2])
        how = self.rng.choice((0, 0, 1, 2, None, None))
        self.note("wipe %s %s" % (node.name, how))
        node.expect_log("Error: ")
        for peer in self.peers:
            if peer.node is node:
                peer.connect(node)
        self.damaged.add(node)
        if how is None:
            shutil.rmtree(node.index_dir(self.user), ignore_errors=True)
        elif os.path.exists(node.index_dir(self.user)):
            damage(self.rng, node.index_dir(self.user), how)

    def prune(self):
        """Tombstones go: all of them, or the oldest."""
        limit = self.rng.choice((1, 3, 1000))
        self.note("prune %d" % limit)
        prune(self.lab, limit)
        for box in self.all_boxes():
            left = {int(uid) for uid, in self.psql("SELECT uid FROM pgbox.expunged WHERE mailbox_id = %d" % box.mailbox_id)}
            box.graves = {uid: box.graves[uid] for uid in left}
            for grave in box.graves.values():
                grave.kept = False
        there = {int(number) for number, in self.psql(
            "SELECT mailbox_id FROM pgbox.mailbox WHERE deleted_at IS NOT NULL AND account_id = %s" % self.account_id)}
        self.trash = [(name, box) for name, box in self.trash if box.mailbox_id in there]

    def step(self):
        """Something happens."""
        dice = self.rng.random()
        peer = self.rng.choice(self.peers)
        if dice < 0.52:
            self.command(peer)
        elif dice < 0.58:
            self.move_peer(peer)
        elif dice < 0.63:
            self.snapshot(peer)
        elif dice < 0.70:
            self.wake()
        elif dice < 0.73:
            self.deliver()
        elif dice < 0.92:
            self.sql()
        elif dice < 0.95:
            self.tree()
        elif dice < 0.96:
            self.administrate()
        elif dice < 0.975:
            self.prune()
        else:
            self.wipe()
        self.hear()
        if self.rng.random() < 0.3:
            self.hear_nothing()

    # -- checks -------------------------------------------------------------

    def check(self):
        """Every node and the database say what the model does."""
        self.note("check")
        for name, box in self.boxes.items():
            self.check_database(name, box)
        for node in self.nodes:
            client = self.open(node)
            for name, box in self.boxes.items():
                client = self.check_box(client, node, name, box)
            client.close()

    def check_box(self, client, node, name, box):
        """A mailbox as a new session sees it; returns the connection."""
        for _ in range(SELECT_TRIES):
            if client.cmd("SELECT ", name).ok:
                break
            client.close()
            client = self.open(node)
        reply, rows = picture(client, name)
        check_select(reply, box)
        eq(sorted(rows), sorted(box.rows), "%s on %s" % (name, node.name))
        for uid, (modseq, flags, date) in rows.items():
            box.see(uid, modseq, flags, date)
        return client

    def check_database(self, name, box):
        """The database's rows and counters."""
        truth = Truth(self.lab, self.user, name)
        eq(int(truth.mailbox_id), box.mailbox_id, name)
        eq((truth.uid_next, truth.highest, truth.messages),
           (box.uid_next, box.highest, len(box.rows)), "counters of " + name)
        eq({uid: row[:2] for uid, row in truth.rows.items()},
           {uid: (row.modseq, set(row.flags)) for uid, row in box.rows.items()}, name)
        graves = {}
        for uid, modseq, flags, keywords, kept, moved in self.psql(GRAVES % truth.mailbox_id):
            graves[int(uid)] = (int(modseq), names_of(int(flags)) | set(keywords.split()), kept == "t", moved == "t")
        eq(graves, {uid: (grave.modseq, set(grave.row.flags), grave.kept, grave.moved) for uid, grave in box.graves.items()},
           "tombstones of " + name)

    def check_guids(self):
        """A message has one GUID everywhere, its copies have the same, others not."""
        origins = {}
        for name, box in self.boxes.items():
            for node in self.nodes:
                lines = node.doveadm("fetch", "uid guid", "mailbox", name, user=self.user,
                                     flags=("-f", "tab")).stdout.decode().splitlines()[1:]
                eq(len(lines), len(box.rows))
                for line in lines:
                    uid, guid = line.split("\t")
                    origin = box.rows[int(uid)].origin
                    eq(origins.setdefault(guid, origin), origin, "GUID of %s %s" % (name, uid))
        eq(len(set(origins.values())), len(origins), "GUIDs")


def history(lab, seed):
    """One history; a failure is told with all that happened."""
    world = World(lab, seed)
    try:
        for number in range(STEPS):
            world.step()
            if number % CHECK_EVERY == CHECK_EVERY - 1:
                world.check()
        for _ in range(SNAPSHOTS):
            world.wake()
        world.check_guids()
    except Exception:
        story = [text.replace("\n", " ") for text in world.story[-60:]]
        print("# PGBOX_TEST_SEED=%d\n#   " % seed + "\n#   ".join(story))
        for peer in world.peers:
            print("# %s\n#   " % peer + "\n#   ".join(peer.client.transcript[-30:]))
        raise
    for peer in world.peers:
        peer.client.close()
    return world


@only("pgbox")
@timeout(3700)
def test_histories(lab):
    """Histories, one after another until the time is up."""
    seed = os.environ.get("PGBOX_TEST_SEED")
    if seed:
        history(lab, int(seed))
        return
    seconds = os.environ.get("PGBOX_TEST_SECONDS")
    deadline = time.monotonic() + float(seconds or SECONDS)
    seed = random.SystemRandom().randrange(10 ** 6) if seconds else 0
    count = pushes = slowest = 0
    while time.monotonic() < deadline:
        count += 1
        world = history(lab, seed + count)
        pushes, slowest = pushes + world.pushes, max(slowest, world.slowest)
    print("# %d pushes, the slowest took %.2f s" % (pushes, slowest))
    print("# %d histories, the last PGBOX_TEST_SEED=%d" % (count, seed + count))
