"""Bad weather where a server's promise or its disk ends: a synchronous standby
that is missing, a full disk under all of the cluster.

pgbox only."""

import contextlib
import os
import subprocess
import time

import proc
from cluster import Cluster
from imapclient import Lit
from mails import PLAIN, queued, simple
from tap import Skip, eq, only, timeout, true
from weather import eventually_ok, later, opened, patience
from weather_server import BIG, PATIENT, WRITES, direct, one_complaint


@contextlib.contextmanager
def standby_missing(lab):
    """Commits wait for a standby that isn't there."""
    lab.cluster.psql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    lab.cluster.psql("SELECT pg_reload_conf()")
    proc.wait_for(lambda: lab.cluster.value("SHOW synchronous_standby_names") == "nobody", 10, "the setting")
    time.sleep(0.2)
    try:
        yield
    finally:
        lab.cluster.psql("ALTER SYSTEM RESET synchronous_standby_names")
        lab.cluster.psql("SELECT pg_reload_conf()")


STANDBY_WRITES = ("STORE", "APPEND", "APPEND of a large message", "MOVE")


@only("pgbox")
@timeout(120)
def test_standby_missing(lab):
    """No standby confirms a commit: nobody waits for ever, and nobody hears that it was
    done. It is on the primary, once."""
    node = direct(lab, "lonely", patience(1000, 500))
    user, c = opened(lab, node)
    other, mail = lab.user(node), queued(PLAIN)
    with standby_missing(lab):
        for name in STANDBY_WRITES:
            before = time.monotonic()
            later(c.finish(WRITES[name](c)), name)
            true(time.monotonic() - before < 10, name + " took too long")
        one_complaint(node, "Error: .*the synchronous standby doesn't confirm commits: .*synchronous_standby_names")
        before = time.monotonic()
        code, text = lab.lmtp(node).deliver(mail, other)[other]
        eq(code, 451, text)
        true(time.monotonic() - before < 10, "delivery took too long")
    c.ok("NOOP")
    eq(c.ok("STATUS INBOX (MESSAGES)").one("STATUS")[1][1], b"4")
    eq(c.ok("STATUS box (MESSAGES)").one("STATUS")[1][1], b"1")
    eq(lab.lmtp(node).deliver(mail, other)[other][0], 250)
    eq(lab.imap(other, node).ok("STATUS INBOX (MESSAGES)").one("STATUS")[1][1], b"1")


@only("pgbox")
@timeout(120)
def test_ended_while_waiting_for_standby(lab):
    """The backend is ended then: it has committed, and that is found out."""
    node = direct(lab, "patient", PATIENT)
    for name in STANDBY_WRITES:
        user, c = opened(lab, node)
        with standby_missing(lab):
            tag = WRITES[name](c)
            proc.wait_for(lambda: lab.cluster.psql("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'"),
                          10, "the backend to wait")
            lab.cluster.psql("ALTER SYSTEM RESET synchronous_standby_names")
            lab.cluster.psql("SELECT pg_terminate_backend(pid), pg_reload_conf()"
                             " FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
            true(c.finish(tag).ok, name)
        wanted = {"STORE": b"3", "MOVE": b"2"}.get(name, b"4")
        eq(c.ok("STATUS INBOX (MESSAGES)").one("STATUS")[1][1], wanted, name + ": once")
        c.close()


@contextlib.contextmanager
def tiny_cluster(lab):
    """A cluster of its own, all of it on a disk of 160 MB."""
    folder = os.path.join(lab.dir, "tiny")
    os.mkdir(folder)
    if not proc.is_root() or subprocess.call(["mount", "-t", "tmpfs", "-o", "size=160m,mode=755", "tmpfs", folder],
                                             stderr=subprocess.DEVNULL):
        raise Skip("can't mount a small disk here")
    cluster = None
    try:
        cluster = Cluster(folder, settings="min_wal_size = 32MB\nmax_wal_size = 32MB\n")
        cluster.start()
        cluster.install()
        yield cluster
    finally:
        if cluster:
            cluster.stop("immediate")
        subprocess.call(["umount", "-l", folder])


def fill_disk(path, left):
    """A file that takes all of a disk but so many bytes."""
    with contextlib.suppress(OSError), open(path, "wb", buffering=0) as handle:
        while True:
            handle.write(bytes(1 << 16))
    os.truncate(path, os.path.getsize(path) - left)


@only("pgbox")
@timeout(120)
def test_whole_disk_full(lab):
    """No room for anything, the log of transactions included: the server may even
    die of it. What was answered OK is there, once, when there is room again."""
    with tiny_cluster(lab) as cluster:
        node = lab.node("tiny", database=cluster.uri("pgbox_dovecot"), extra=patience(1000, 3000))
        node.expect_log("Error: ")
        user = lab.user(node)
        cluster.create_account(user)
        c = lab.imap(user, node)
        c.ok("SELECT INBOX")
        filler = os.path.join(cluster.dir, "filler")
        fill_disk(filler, 8 << 20)
        accepted = refused = 0
        while refused < 5:
            reply = c.cmd("APPEND INBOX ", Lit(simple(accepted, body=os.urandom(90000).hex())))
            accepted += reply.ok
            if not reply.ok:
                refused += 1
                later(reply, "APPEND")
        true(accepted, "there was some room")
        code, text = lab.lmtp(node).deliver(BIG, user)[user]
        true(400 <= code < 500, text)
        os.remove(filler)
        if not cluster.pid():
            cluster.start()
        eventually_ok(c, "NOOP")
        eq(int(c.ok("STATUS INBOX (MESSAGES)").one("STATUS")[1][1]), accepted)
        c.ok("APPEND INBOX ", Lit(BIG))
        eq(cluster.psql("SELECT rule, problem FROM pgbox.invariant_violations"), [])
