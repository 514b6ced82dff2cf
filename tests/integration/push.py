"""Signals between nodes: who waits hears at once of what others did.

Two nodes with the service pgbox-notify, and for some tests one without."""

import os
import signal
import time

import proc
from cache_truth import Truth, check
from imapclient import Lit
from mails import PLAIN, fill, simple
from node import command_of
from notifyclient import NotifyClient
from tap import SLOW_FACTOR, Skip, eq, has, only, timeout, true

# hibernation's sockets belong to Dovecot's user
HIBERNATE = """
imap_hibernate_timeout = 1 secs
service imap {
  extra_groups = %(group)s
  unix_listener imap-master {
    user = %(user)s
  }
}
service imap-hibernate {
  unix_listener imap-hibernate {
    mode = 0666
  }
}
"""
# nobody is to be saved by polling
NO_POLL = "mailbox_idle_check_interval = 1 hour\n"


def nodes(lab, *names, extra="", **kwargs):
    """Nodes with the service, whose sessions don't poll. kwargs as for Node."""
    found = [lab.node(name, notify=True, extra=NO_POLL + extra, **kwargs) for name in names or ("push1", "push2")]
    for node in found:
        wait_vouched(lab, node)
    return found


def store_guid(lab):
    """Identity of the store, as the protocol has it."""
    return lab.cluster.psql("SELECT store_guid FROM pgbox.store")[0][0].replace("-", "")


def wait_vouched(lab, node):
    """Wait until the node's service hears of all changes."""
    guid = store_guid(lab)

    def vouched():
        try:
            client = NotifyClient(node.notify_socket())
            answer = client.watch("A", "nobody", 0, guid)
        except (OSError, proc.LabError):
            return False
        client.close()
        return answer[2] == "1"
    proc.wait_for(vouched, 20, "the signal service of " + node.name)


def idler(lab, user, node, box="INBOX"):
    """A session in IDLE, with no change of its own pending; returns it and its tag."""
    client = lab.imap(user, node)
    client.ok("SELECT ", box)
    return client, client.idle()


def exists(number):
    """Whether it says that there are so many messages."""
    return lambda item: item.name == "EXISTS" and item.number == number


def fetched(word):
    """Whether it tells of a flag."""
    return lambda item: item.name == "FETCH" and word in repr(item.data)


def quickly(client, predicate, seconds=2.0):
    """Wait for an untagged answer; returns after how long it came."""
    seconds *= SLOW_FACTOR if os.environ.get("PGBOX_TEST_VALGRIND") else 1
    begun = time.monotonic()
    client.wait_untagged(predicate, seconds + 10)
    took = time.monotonic() - begun
    true(took < seconds, "it took %.2f s" % took)
    return took


@only("pgbox")
@timeout(120)
def test_imap_to_idle(lab):
    """APPEND, STORE, EXPUNGE, COPY and MOVE on one node, IDLE on the other."""
    one, two = nodes(lab)
    user = lab.user(one)
    writer = lab.imap(user, one)
    fill(writer, "INBOX", 3)
    writer.ok("CREATE box")
    waiting, _ = idler(lab, user, two)
    writer.ok("APPEND INBOX ", Lit(simple(4)))
    quickly(waiting, exists(4))
    writer.ok("SELECT INBOX")
    writer.ok("STORE 1 +FLAGS (\\Flagged)")
    quickly(waiting, fetched("Flagged"))
    writer.ok("STORE 2 +FLAGS (\\Deleted)")
    quickly(waiting, fetched("Deleted"))
    writer.ok("EXPUNGE")
    quickly(waiting, lambda item: item.name == "EXPUNGE" and item.number == 2)
    writer.ok("MOVE 1 box")
    quickly(waiting, lambda item: item.name == "EXPUNGE" and item.number == 1)
    in_box, _ = idler(lab, user, two, "box")
    writer.ok("COPY 1 box")
    quickly(in_box, exists(2))


@only("pgbox")
@timeout(60)
def test_same_node(lab):
    """Two sessions of one node."""
    one, _ = nodes(lab)
    user = lab.user(one)
    waiting, _ = idler(lab, user, one)
    lab.imap(user, one).ok("APPEND INBOX ", Lit(simple(1)))
    true(quickly(waiting, exists(1)) < 0.4, "Dovecot's own files need half a second")


@only("pgbox")
@timeout(60)
def test_index_in_memory(lab):
    """A node that keeps nothing on disk."""
    one, _ = nodes(lab)
    memory = lab.node("memory", notify=True, extra=NO_POLL, location=":INDEX=MEMORY")
    wait_vouched(lab, memory)
    user = lab.user(one)
    waiting, tag = idler(lab, user, memory)
    writer = lab.imap(user, one)
    writer.ok("APPEND INBOX ", Lit(simple(1)))
    quickly(waiting, exists(1))
    writer.ok("SELECT INBOX")
    writer.ok("STORE 1 +FLAGS (\\Deleted)")
    quickly(waiting, fetched("Deleted"))
    writer.ok("EXPUNGE")
    quickly(waiting, lambda item: item.name == "EXPUNGE" and item.number == 1)
    eq(waiting.done(tag).status, "OK")
    check(lab, waiting, user)


@only("pgbox")
@timeout(60)
def test_lmtp_doveadm_and_sql_to_idle(lab):
    """Whoever makes the change."""
    one, two = nodes(lab)
    user = lab.user(one)
    waiting, _ = idler(lab, user, two)
    eq(lab.lmtp(one).deliver(PLAIN, user)[user][0], 250)
    quickly(waiting, exists(1))
    one.doveadm("flags", "add", "\\Flagged", "mailbox", "INBOX", "all", user=user)
    quickly(waiting, fetched("Flagged"))
    mailbox = Truth(lab, user).mailbox_id
    lab.cluster.psql("SELECT pgbox.message_store(%s, NULL, '{1}', '{0}', '{8}', '{0}', '{\"\"}', '{\"\"}', '{f}')"
                     % mailbox)
    quickly(waiting, fetched("Seen"))
    lab.cluster.psql("SELECT pgbox.message_expunge(%s, '{1}', 'by hand')" % mailbox)
    quickly(waiting, lambda item: item.name == "EXPUNGE")


@only("pgbox")
@timeout(60)
def test_sql_rolled_back(lab):
    """What was rolled back is signalled to nobody."""
    _, two = nodes(lab)
    user = lab.user(two)
    fill(lab.imap(user, two), "INBOX", 1)
    truth = Truth(lab, user)
    client = NotifyClient(two.notify_socket())
    eq(client.watch("M", truth.mailbox_id, truth.highest, store_guid(lab))[0], "OK")
    lab.cluster.psql("BEGIN; SELECT pgbox.message_expunge(%s, '{1}', 'no'); ROLLBACK" % truth.mailbox_id)
    eq(client.lines(0.5), [])
    lab.cluster.psql("SELECT pgbox.message_expunge(%s, '{1}', 'yes')" % truth.mailbox_id)
    eq(client.line(), ["LOOK", "1", str(truth.highest + 65536)])
    client.close()


@only("pgbox")
@timeout(120)
def test_idle_connection_released(lab):
    """Latency with an idle session's connection gone, which is made anew."""
    if lab.is_pooled:
        raise Skip("connections are the pooler's")
    one, two = nodes(lab)
    user = lab.user(one)
    writer = lab.imap(user, one)
    fill(writer, "INBOX", 1)
    waiting, _ = idler(lab, user, two)
    proc.wait_for(lambda: backends(lab) == services(lab), 30, "sessions to let go of their connections")
    writer.ok("APPEND INBOX ", Lit(simple(2)))
    quickly(waiting, exists(2))


def services(lab):
    """How many services there are, with a connection each."""
    return sum(bool(node.notify_pids()) for node in lab.nodes.values())


def backends(lab):
    """Connections of the plugin's role, those of the services included."""
    return int(lab.cluster.psql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'pgbox_dovecot'")[0][0])


@only("pgbox")
@timeout(60)
def test_nothing_new_costs_nothing(lab):
    """A session in IDLE asks the database for nothing when it hears of its own
    change, or when the index's files were touched."""
    one, _ = nodes(lab)
    user = lab.user(one)
    client, tag = idler(lab, user, one)
    writer = lab.imap(user, one)
    writer.ok("SELECT INBOX")
    writer.ok("APPEND INBOX ", Lit(simple(1)))
    quickly(client, exists(1))
    time.sleep(1)
    before = statements(lab)
    log = [path for path in glob_logs(one.index_dir(user))]
    for path in log:
        with open(path, "ab"):
            os.utime(path)
    time.sleep(1.2)
    eq(statements(lab), before)
    client.done(tag)


def glob_logs(folder):
    """Transaction logs below a folder."""
    for path, _, names in os.walk(folder):
        for name in names:
            if name == "dovecot.index.log":
                yield os.path.join(path, name)


def statements(lab):
    """How many pulls there were."""
    return int(lab.cluster.psql("SELECT coalesce(sum(calls), 0) FROM pg_stat_statements"
                                " WHERE query LIKE '%mailbox_pull%' AND query NOT LIKE '%pg_stat%'")[0][0])


@only("pgbox")
@timeout(120)
def test_notify_list(lab):
    """NOTIFY (RFC 5465): create, rename, delete, subscribe, status of mailboxes
    that aren't selected, from the other node."""
    one, two = nodes(lab)
    user = lab.user(one)
    writer, waiting = lab.imap(user, one), lab.imap(user, two)
    writer.ok("CREATE other")
    waiting.ok("NOTIFY SET (personal (MailboxName SubscriptionChange MessageNew MessageExpunge FlagChange))")
    for command, wanted in (
            ("CREATE fresh", "fresh"), ("RENAME fresh later", "later"), ("SUBSCRIBE later", "Subscribed"),
            ("UNSUBSCRIBE later", "later"), ("DELETE later", "NonExistent")):
        writer.ok(command)
        quickly(waiting, lambda item, w=wanted: item.name == "LIST" and w.encode() in repr(item.data).encode())
    writer.ok("APPEND other ", Lit(simple(1)))
    quickly(waiting, lambda item: item.name == "STATUS" and "other" in repr(item.data))


@only("pgbox")
@timeout(120)
def test_deleted_under_idle(lab):
    """The other node deletes the mailbox: IDLE ends, the session learns why."""
    one, two = nodes(lab)
    user = lab.user(one)
    writer = lab.imap(user, one)
    writer.ok("CREATE gone")
    for node in (one, two):
        node.expect_log("Error: .*deleted under")
    waiting, _ = idler(lab, user, two, "gone")
    begun = time.monotonic()
    writer.ok("DELETE gone")
    waiting.wait_untagged(lambda item: item.name in ("BYE", "NO"))
    true(time.monotonic() - begun < 3, "it took %.1f s" % (time.monotonic() - begun))


@only("pgbox")
@timeout(120)
def test_service_restarted(lab):
    """The service is killed: it comes back, and what came meanwhile is found."""
    one, two = nodes(lab)
    user = lab.user(one)
    waiting, _ = idler(lab, user, two)
    for number in (1, 2):
        pid, = two.notify_pids()
        two.expect_log("pgbox-notify.*(killed|Killed)", "service.pgbox-notify.")
        os.kill(pid, signal.SIGKILL)
        eq(lab.lmtp(one).deliver(PLAIN, user)[user][0], 250)
        waiting.wait_untagged(exists(number))
    wait_vouched(lab, two)
    lab.imap(user, one).ok("APPEND INBOX ", Lit(simple(1)))
    quickly(waiting, exists(3))


@only("pgbox")
@timeout(120)
def test_reload(lab):
    """doveadm reload replaces the service; Dovecot itself ends idle sessions then."""
    one, two = nodes(lab)
    user = lab.user(one)
    old = two.notify_pids()
    two.reload()
    proc.wait_for(lambda: two.notify_pids() and two.notify_pids() != old, 20, "a new service")
    wait_vouched(lab, two)
    waiting, _ = idler(lab, user, two)
    lab.imap(user, one).ok("APPEND INBOX ", Lit(simple(1)))
    quickly(waiting, exists(1))


def hears_again(lab, user, waiting, tag):
    """After an outage: what is delivered on one node reaches IDLE on the other."""
    one, two = nodes(lab)
    for node in (one, two):
        wait_vouched(lab, node)
    eq(lab.lmtp(one).deliver(PLAIN, user)[user][0], 250)
    quickly(waiting, exists(1))
    eq(waiting.done(tag).status, "OK")


@only("pgbox")
@timeout(180)
def test_postgres_restarted(lab):
    """PostgreSQL restarts: sessions in IDLE survive, and go on hearing."""
    _, two = nodes(lab)
    user = lab.user(two)
    waiting, tag = idler(lab, user, two)
    for node in lab.nodes.values():
        node.expect_log("pgbox: ", "no signals of other nodes")
    lab.cluster.restart()
    hears_again(lab, user, waiting, tag)


@only("pgbox")
@timeout(120)
def test_idle_begun_without_database(lab):
    """PostgreSQL is away when IDLE begins: the session hears nothing until it
    is back, and then everything. Dovecot's IDLE would be deaf for good if it
    were told that its first look failed."""
    _, two = nodes(lab)
    user = lab.user(two)
    waiting = lab.imap(user, two)
    waiting.ok("SELECT INBOX")
    for node in lab.nodes.values():
        node.expect_log("pgbox: ", "no signals of other nodes")
    two.expect_log("Mailbox INBOX: pgbox: ")
    lab.cluster.stop()
    tag = waiting.idle()
    eq(waiting.quiet(1), [])
    lab.cluster.start()
    hears_again(lab, user, waiting, tag)


@only("pgbox")
@timeout(120)
def test_look_refused(lab):
    """Sessions are told to look, and PostgreSQL refuses their connections: they
    look again when the service's next check succeeds."""
    if lab.is_pooled:
        raise Skip("connections are the pooler's")
    one, _ = nodes(lab)
    refused = lab.node("refused", notify=True, extra=NO_POLL + "plugin {\n  pgbox_notify_check_interval = 2 secs\n}\n")
    wait_vouched(lab, refused)
    user = lab.user(one)
    writer = lab.imap(user, one)
    writer.ok("SELECT INBOX")
    lister = lab.imap(user, refused)
    lister.ok("NOTIFY SET (personal (MailboxName))")
    waiting, tag = idler(lab, user, refused)
    lab.cluster.wait_no_backends()
    writer.ok("NOOP")
    refused.expect_log("too many connections for role")
    lab.cluster.psql("ALTER ROLE pgbox_dovecot CONNECTION LIMIT 0")
    try:
        writer.ok("APPEND INBOX ", Lit(simple(1)))
        writer.ok("CREATE box")
        eq(waiting.quiet(3), [])
        eq(lister.quiet(0.1), [])
    finally:
        lab.cluster.psql("ALTER ROLE pgbox_dovecot CONNECTION LIMIT -1")
    quickly(waiting, exists(1), 4)
    quickly(lister, lambda item: item.name == "LIST" and "box" in repr(item.data), 4)
    eq(waiting.done(tag).status, "OK")


@only("pgbox")
@timeout(60)
def test_new_epoch(lab):
    """After a restore the store gets a new epoch: sessions in IDLE end, so that
    their clients begin anew, and aren't left with what they know."""
    one, two = nodes(lab)
    user = lab.user(one)
    fill(lab.imap(user, one), "INBOX", 2)
    waiting, _ = idler(lab, user, two)
    lab.cluster.psql("UPDATE pgbox.store SET epoch = epoch + 1")
    waiting.wait_untagged(lambda item: item.name == "BYE")
    again = lab.imap(user, two)
    check(lab, again, user)
    lab.imap(user, one).ok("APPEND INBOX ", Lit(simple(3)))
    check(lab, again, user)


@only("pgbox")
@timeout(120)
def test_signals_lost(lab):
    """All signals of a burst are lost: the service's check finds what changed,
    and asks no session whose mailbox is as it was."""
    _, two = nodes(lab)
    heal = lab.node("heal", notify=True, extra=NO_POLL + "plugin {\n  pgbox_notify_check_interval = 2 secs\n}\n")
    wait_vouched(lab, heal)
    changed, quiet = lab.user(two), lab.user(two)
    waiting, tag = idler(lab, changed, heal)
    mailbox, guid = Truth(lab, quiet), store_guid(lab)
    observer = NotifyClient(heal.notify_socket())
    eq(observer.watch("M", mailbox.mailbox_id, mailbox.highest, guid)[0], "OK")
    # as pgbox_dovecot the triggers keep still, and no plugin is there to tell
    truth = Truth(lab, changed)
    lab.cluster.psql("SET SESSION AUTHORIZATION pgbox_dovecot;"
                     " SELECT pgbox.mailbox_update(account_id, mailbox_id, NULL, NULL, NULL, NULL, NULL)"
                     " FROM generate_series(1, 50), pgbox.mailbox WHERE mailbox_id = %s" % truth.mailbox_id)
    client = NotifyClient(heal.notify_socket())
    eq(client.watch("M", truth.mailbox_id, truth.highest, guid)[0], "OK")
    has(["LOOK", "1", str(truth.highest + 50 * 65536)], client.lines(5))
    waiting.done(tag)
    eq(Truth(lab, changed).highest, check(lab, waiting, changed).highest)
    eq(observer.lines(0.1), [])
    for session in (client, observer):
        session.close()


@only("pgbox")
@timeout(120)
def test_without_service(lab):
    """A node without the service: its sessions poll, and are heard of by the
    others' checks."""
    one, _ = nodes(lab)
    plain = lab.node("plain", extra="mailbox_idle_check_interval = 2 secs\n")
    user = lab.user(one)
    waiting, _ = idler(lab, user, plain)
    lab.imap(user, one).ok("APPEND INBOX ", Lit(simple(1)))
    waiting.wait_untagged(exists(1))
    heal = lab.node("heal", notify=True, extra=NO_POLL + "plugin {\n  pgbox_notify_check_interval = 2 secs\n}\n")
    wait_vouched(lab, heal)
    other, _ = idler(lab, user, heal)
    lab.imap(user, plain).ok("APPEND INBOX ", Lit(simple(2)))
    quickly(other, exists(2), 6)


@only("pgbox")
@timeout(120)
def test_service_stops_answering(lab):
    """A service that hangs (SIGSTOP) keeps nobody from working, and sessions
    in IDLE find out, look, and turn to polling."""
    one, _ = nodes(lab)
    slow = lab.node("slow", notify=True, extra="mailbox_idle_check_interval = 6 secs\n")
    wait_vouched(lab, slow)
    user = lab.user(one)
    waiting, _ = idler(lab, user, slow)
    pid, = slow.notify_pids()
    os.kill(pid, signal.SIGSTOP)
    try:
        lab.imap(user, one).ok("APPEND INBOX ", Lit(simple(1)))
        # one interval until the service is asked, five seconds for its answer
        quickly(waiting, exists(1), 13)
        begun = time.monotonic()
        late, tag = idler(lab, user, slow)
        true(time.monotonic() - begun < 2, "IDLE waited %.1f s for the service" % (time.monotonic() - begun))
        eq(late.done(tag).status, "OK")
    finally:
        os.kill(pid, signal.SIGCONT)


@only("pgbox")
@timeout(60)
def test_wrong_words(lab):
    """Whoever doesn't speak the protocol is disconnected, and others go on."""
    one, _ = nodes(lab)
    one.expect_log("Error: .*not understood", "Error: .*(handshake|VERSION|version)", "Error: .*BUG")
    guid = store_guid(lab)
    good = NotifyClient(one.notify_socket())
    eq(good.watch("A", "somebody", 0, guid)[0], "OK")
    for words in (("NONSENSE",), ("WATCH", 1, "M", "x", 0, guid), ("WATCH", 1, "M", -1, 0, guid),
                  ("WATCH", 0, "M", 1, 0, guid), ("WATCH", "x", "M", 1, 0, guid), ("WATCH", 1, "B", "a", 0, guid),
                  ("WATCH", 1, "A", "a", 0, "guid"), ("WATCH", 1), ("CHANGED", "1"), ("UNWATCH", 7), ("DONE", "A")):
        bad = NotifyClient(one.notify_socket())
        bad.send(*words)
        eq(bad.line(), [], repr(words))
        bad.close()
    bad = NotifyClient(one.notify_socket())
    bad.send("WATCH", 1, "A", "x" * 5000, 0, guid)
    eq(bad.line(), [])
    bad.close()
    other = NotifyClient(one.notify_socket())
    eq(other.watch("M", 1, 0, "0" * 32)[0], "NO")
    other.send("PING")
    eq(other.line(), ["PONG"])
    other.close()
    # the same twice, by other numbers
    eq(good.watch("A", "somebody", 0, guid, 2)[0], "OK")
    good.send("CHANGED", 0, 0, "somebody")
    eq(sorted(good.line()[1] for _ in range(2)), ["1", "2"])
    good.send("UNWATCH", 1)
    good.send("PING")
    eq(good.line(), ["PONG"])
    good.close()


@only("pgbox")
@timeout(60)
def test_names_that_the_server_refuses(lab):
    """A name that isn't UTF-8 holds up nobody else's signals and checks."""
    one, two = nodes(lab)
    one.expect_log("Error: .*not understood")
    user = lab.user(one)
    waiting, _ = idler(lab, user, two)
    for words in (("CHANGED", 0, 0, "a\udcff"), ("CHANGED", 7, 65536, "\udcc0\udcaf"),
                  ("WATCH", 1, "A", "a\udcff\n", 0, store_guid(lab))):
        bad = NotifyClient(one.notify_socket())
        bad.send(*words)
        eq(bad.line(), [], repr(words))
        bad.close()
    lab.imap(user, one).ok("APPEND INBOX ", Lit(simple(1)))
    quickly(waiting, exists(1))
    wait_vouched(lab, one)


@only("pgbox")
@timeout(120)
def test_turns(lab):
    """However many wait for one mailbox, only a few look at a time."""
    one, _ = nodes(lab)
    user = lab.user(one)
    fill(lab.imap(user, one), "INBOX", 1)
    truth, guid = Truth(lab, user), store_guid(lab)
    clients = [NotifyClient(one.notify_socket()) for _ in range(30)]
    for client in clients:
        eq(client.watch("M", truth.mailbox_id, truth.highest, guid)[0], "OK")
    lab.cluster.psql("SELECT pgbox.message_expunge(%s, '{1}', 'test')" % truth.mailbox_id)
    time.sleep(0.3)
    told = [client for client in clients if client.lines(0)]
    eq(len(told), 8)
    for client in told:
        client.send("DONE", 1)
    time.sleep(0.3)
    eq(len([client for client in clients if client not in told and client.lines(0)]), 8)
    # those who don't answer lose their turn
    deadline = time.monotonic() + 20
    waiting = len(clients) - 16
    while waiting and time.monotonic() < deadline:
        waiting -= len([client for client in clients if client.lines(0.02)])
    eq(waiting, 0)
    for client in clients:
        client.close()


@only("pgbox")
@timeout(120)
def test_coalesced(lab):
    """A burst of changes is sent to other nodes in few transactions."""
    one, two = nodes(lab)
    guid = store_guid(lab)
    user = lab.user(one)
    mailbox = Truth(lab, user).mailbox_id
    listener = NotifyClient(two.notify_socket())
    eq(listener.watch("A", user, 0, guid)[0], "OK")
    before = sends(lab)
    sender = NotifyClient(one.notify_socket())
    for number in range(2000):
        sender.send("CHANGED", mailbox, number * 65536, user)
    sender.send("PING")
    eq(sender.line(), ["PONG"])
    eq(listener.line(), ["LOOK", "1", "0"])
    proc.wait_for(lambda: sends(lab) == sends(lab), 5, "rest")
    time.sleep(0.5)
    count = sends(lab) - before
    print("# 2000 changes: %d transactions" % count)
    true(0 < count < 500, "%d transactions" % count)
    for client in (listener, sender):
        client.close()


def sends(lab):
    """How many transactions sent signals."""
    return int(lab.cluster.psql("SELECT coalesce(sum(calls), 0) FROM pg_stat_statements"
                                " WHERE query LIKE '%pg_notify($%' AND query NOT LIKE '%pg_stat%'")[0][0])


@only("pgbox")
@timeout(120)
def test_no_flush_for_signals(lab):
    """Sending a signal waits for no flush of the WAL."""
    one, _ = nodes(lab)
    sender = NotifyClient(one.notify_socket())
    synced = "SELECT wal_sync FROM pg_stat_wal"
    lab.cluster.psql("SELECT pg_stat_reset_shared('wal')")
    for number in range(200):
        sender.send("CHANGED", 1, number * 65536, "somebody")
        sender.send("PING")
        eq(sender.line(), ["PONG"])
    time.sleep(1)
    count = int(lab.cluster.psql(synced)[0][0])
    true(count < 50, "%d flushes" % count)
    sender.close()


def hibernating(lab):
    """Two nodes that park idle sessions after a second."""
    internal = lab.node()._internal
    return nodes(lab, "hib1", "hib2", extra=HIBERNATE % {"group": proc.group_of(internal), "user": internal})


def parked(node, user):
    """Wait until the user has no imap process any more."""
    proc.wait_for(lambda: not processes(node, user), 20, "hibernation")


def processes(node, user):
    """Processes that serve the user's IMAP sessions, by the title of the process."""
    return [pid for pid in node.imap_pids(user) if "imap-hibernate" not in command_of(pid)]


@only("pgbox")
@timeout(180)
def test_hibernation(lab):
    """A parked session wakes up when another node has expunged and appended, and
    tells its client exactly that."""
    one, two = hibernating(lab)
    user = lab.user(one)
    writer = lab.imap(user, one)
    fill(writer, "INBOX", 6)
    waiting = lab.imap(user, two)
    waiting.ok("SELECT INBOX")
    tag = waiting.idle()
    parked(two, user)
    writer.ok("SELECT INBOX")
    writer.ok("STORE 2,5 +FLAGS.SILENT (\\Deleted)")
    waiting.wait_untagged(fetched("Deleted"))
    parked(two, user)
    writer.ok("EXPUNGE")
    writer.ok("APPEND INBOX ", Lit(simple(7)))
    waiting.wait_untagged(lambda item: item.name == "EXPUNGE" and item.number in (2, 5))
    waiting.wait_untagged(lambda item: item.name == "EXPUNGE" and item.number in (2, 4))
    waiting.wait_untagged(exists(5))
    parked(two, user)
    # the client itself wakes it
    eq(waiting.done(tag).status, "OK")
    check(lab, waiting, user)


@only("pgbox")
@timeout(180)
def test_hibernation_service_restarted(lab):
    """Changes made while the service was away reach a parked session."""
    one, two = hibernating(lab)
    user = lab.user(one)
    waiting = lab.imap(user, two)
    waiting.ok("SELECT INBOX")
    waiting.idle()
    parked(two, user)
    two.expect_log("pgbox-notify.*(killed|Killed)", "service.pgbox-notify.")
    pid, = two.notify_pids()
    os.kill(pid, signal.SIGKILL)
    eq(lab.lmtp(one).deliver(PLAIN, user)[user][0], 250)
    waiting.wait_untagged(exists(1))
