"""Sessions that keep up: CONDSTORE, QRESYNC, IDLE, NOTIFY."""

from imapclient import Lit, flags_of, parse_set
from mails import PLAIN, fill, simple
from tap import eq, has, true, timeout


def opened(lab, count, user=None, param=""):
    """A client with so many messages in its selected INBOX."""
    c = lab.imap(user)
    fill(c, "INBOX", count)
    c.ok("SELECT INBOX" + param)
    return c


def state(client, mailbox="INBOX"):
    """(UIDVALIDITY, HIGHESTMODSEQ) of a mailbox."""
    pairs = client.ok("STATUS %s (UIDVALIDITY HIGHESTMODSEQ)" % mailbox).one("STATUS")[1]
    return int(pairs[1]), int(pairs[3])


def vanished(reply, earlier):
    """All UIDs of VANISHED responses, (EARLIER) or not, in ascending order."""
    uids = []
    for item in reply.all("VANISHED"):
        if (item.data[0] == [b"EARLIER"]) == earlier:
            uids += parse_set(item.data[-1])
    return sorted(uids)


def changed(reply):
    """{uid: flags} of FETCH responses."""
    return {int(item["UID"]): flags_of(item["FLAGS"]) - {"\\Recent"}
            for item in reply.fetches().values() if "FLAGS" in item}


# -- CONDSTORE ------------------------------------------------------------

def test_condstore_enabling(lab):
    """Whatever mentions a modseq turns CONDSTORE on."""
    user = lab.user()
    for command in ("SELECT INBOX (CONDSTORE)", "FETCH 1 MODSEQ", "SEARCH MODSEQ 1",
                    "STATUS INBOX (HIGHESTMODSEQ)", "FETCH 1 FLAGS (CHANGEDSINCE 1)",
                    "STORE 1 (UNCHANGEDSINCE 99999999) +FLAGS (\\Draft)"):
        c = opened(lab, 1, user)
        c.ok(command)
        reply = c.ok("STORE 1 +FLAGS (kw%d)" % len(command))
        true("MODSEQ" in reply.fetches()[1], command)
        c.close()


def test_modseq_each_change(lab):
    """Flag changes, appends and expunges raise HIGHESTMODSEQ."""
    c = opened(lab, 3, param=" (CONDSTORE)")
    last = state(c)[1]
    for command in ("STORE 1 +FLAGS.SILENT (\\Seen)", "STORE 1:3 FLAGS.SILENT (a b)",
                    "STORE 2 +FLAGS.SILENT (\\Deleted)", "EXPUNGE", "COPY 1 INBOX"):
        c.ok(command)
        now = state(c)[1]
        true(now > last, command)
        last = now
    highest = max(int(item["MODSEQ"][0]) for item in c.ok("FETCH 1:* MODSEQ")
                  .fetches().values())
    true(highest <= last, "no message is above HIGHESTMODSEQ")


def test_changedsince(lab):
    """FETCH (CHANGEDSINCE) gives what changed, no more."""
    c = opened(lab, 10, param=" (CONDSTORE)")
    base = state(c)[1]
    c.ok("STORE 2,5 +FLAGS.SILENT (\\Seen)")
    middle = state(c)[1]
    c.ok("STORE 5,7 +FLAGS.SILENT (\\Flagged)")
    eq(sorted(c.ok("FETCH 1:* FLAGS (CHANGEDSINCE %d)" % base).fetches()), [2, 5, 7])
    reply = c.ok("UID FETCH 1:* FLAGS (CHANGEDSINCE %d)" % middle)
    eq(changed(reply), {5: {"\\Seen", "\\Flagged"}, 7: {"\\Flagged"}})
    true(all("MODSEQ" in item for item in reply.fetches().values()), "MODSEQ comes along")
    eq(c.ok("FETCH 1:* FLAGS (CHANGEDSINCE %d)" % state(c)[1]).fetches(), {})


def test_modseq_in_second_session(lab):
    """Both sessions see the same MODSEQs."""
    user = lab.user()
    a = opened(lab, 5, user, " (CONDSTORE)")
    b = lab.imap(user)
    b.ok("SELECT INBOX (CONDSTORE)")
    a.ok("STORE 3 +FLAGS (\\Seen)")
    b.ok("STORE 4 +FLAGS (\\Seen)")
    a.ok("NOOP")
    b.ok("NOOP")
    one = a.ok("FETCH 1:* (UID FLAGS MODSEQ)").fetches()
    two = b.ok("FETCH 1:* (UID FLAGS MODSEQ)").fetches()
    strip = lambda got: {n: (item["UID"], item["MODSEQ"]) for n, item in got.items()}
    eq(strip(one), strip(two))
    eq(state(a), state(b))


# -- QRESYNC --------------------------------------------------------------

def resync(lab, user, known, extra=""):
    """SELECT with what a client knew: (validity, modseq)."""
    c = lab.imap(user)
    c.ok("ENABLE QRESYNC")
    return c, c.ok("SELECT INBOX (QRESYNC (%d %d%s))" % (known[0], known[1], extra))


def test_qresync_exact(lab):
    """VANISHED (EARLIER) and FETCH tell exactly what happened since."""
    user = lab.user()
    a = opened(lab, 20, user, " (CONDSTORE)")
    known = state(a)
    a.ok("STORE 3,4,10 +FLAGS.SILENT (\\Deleted)")
    a.ok("EXPUNGE")
    a.ok("UID STORE 7,12 +FLAGS.SILENT (\\Seen k1)")
    a.ok("APPEND INBOX (\\Flagged) ", Lit(PLAIN))
    _, reply = resync(lab, user, known)
    eq(vanished(reply, True), [3, 4, 10])
    eq(changed(reply), {7: {"\\Seen", "k1"}, 12: {"\\Seen", "k1"}, 21: {"\\Flagged"}})
    eq(reply.number("EXISTS"), 18)


def test_qresync_nothing_new(lab):
    """A client that knows all is told nothing."""
    user = lab.user()
    a = opened(lab, 5, user, " (CONDSTORE)")
    a.ok("STORE 2 +FLAGS.SILENT (\\Deleted)")
    a.ok("EXPUNGE")
    _, reply = resync(lab, user, state(a))
    eq(vanished(reply, True), [])
    eq(changed(reply), {})


def test_qresync_known_uids(lab):
    """With a list of known UIDs only those are told as vanished."""
    user = lab.user()
    a = opened(lab, 20, user, " (CONDSTORE)")
    known = state(a)
    a.ok("STORE 2,9,15 +FLAGS.SILENT (\\Deleted)")
    a.ok("EXPUNGE")
    _, reply = resync(lab, user, known, " 1:10")
    eq(vanished(reply, True), [2, 9])


def test_qresync_seq_match(lab):
    """The sequence match data of RFC 7162 is taken."""
    user = lab.user()
    a = opened(lab, 20, user, " (CONDSTORE)")
    known = state(a)
    a.ok("STORE 15 +FLAGS.SILENT (\\Deleted)")
    a.ok("EXPUNGE")
    _, reply = resync(lab, user, known, " 1:20 (5,10 5,10)")
    eq(vanished(reply, True), [15])


def test_qresync_other_validity(lab):
    """A wrong UIDVALIDITY is answered as if nothing were known."""
    user = lab.user()
    a = opened(lab, 3, user, " (CONDSTORE)")
    validity, modseq = state(a)
    _, reply = resync(lab, user, (validity + 1, modseq))
    eq(vanished(reply, True), [])
    eq(reply.untagged_code("UIDVALIDITY"), str(validity))


def test_qresync_vanished_live(lab):
    """With QRESYNC, expunges come as VANISHED in every session that has it."""
    user = lab.user()
    a = opened(lab, 6, user)
    b = lab.imap(user)
    b.ok("ENABLE QRESYNC")
    b.ok("SELECT INBOX")
    a.ok("STORE 2,4 +FLAGS.SILENT (\\Deleted)")
    a.ok("EXPUNGE")
    reply = b.ok("NOOP")
    eq(reply.expunged(), [])
    eq(vanished(reply, False), [2, 4])
    b.ok("UID STORE 5 +FLAGS.SILENT (\\Deleted)")
    reply = b.ok("UID EXPUNGE 5")
    eq(vanished(reply, False), [5])
    true(reply.code.startswith("HIGHESTMODSEQ"), "EXPUNGE tells HIGHESTMODSEQ")


def test_uid_fetch_vanished(lab):
    """UID FETCH (CHANGEDSINCE n VANISHED)."""
    user = lab.user()
    c = lab.imap(user)
    c.ok("ENABLE QRESYNC")
    fill(c, "INBOX", 10)
    c.ok("SELECT INBOX")
    known = state(c)
    c.ok("STORE 3:5 +FLAGS.SILENT (\\Deleted)")
    c.ok("EXPUNGE")
    c.ok("UID STORE 8 +FLAGS.SILENT (\\Seen)")
    reply = c.ok("UID FETCH 1:* (FLAGS) (CHANGEDSINCE %d VANISHED)" % known[1])
    eq(vanished(reply, True), [3, 4, 5])
    eq(changed(reply), {8: {"\\Seen"}})
    reply = c.ok("UID FETCH 4:7 (FLAGS) (CHANGEDSINCE %d VANISHED)" % known[1])
    eq(vanished(reply, True), [4, 5])


def test_qresync_steps(lab):
    """A client that resyncs after each of many steps is never wrong."""
    user = lab.user()
    a = opened(lab, 30, user, " (CONDSTORE)")
    known, uids, flags = state(a), set(range(1, 31)), {}
    for step in range(8):
        victims = sorted(uids)[step:step + 2]
        a.ok("UID STORE %d,%d +FLAGS.SILENT (\\Deleted)" % tuple(victims))
        a.ok("UID EXPUNGE %d,%d" % tuple(victims))
        a.ok("UID STORE %d +FLAGS.SILENT (s%d)" % (sorted(uids)[-1 - step], step))
        a.ok("APPEND INBOX ", Lit(simple(100 + step)))
        c, reply = resync(lab, user, known)
        uids -= set(vanished(reply, True))
        flags.update(changed(reply))
        uids |= set(changed(reply))
        known = state(c)
        real = changed(c.ok("UID FETCH 1:* (FLAGS)"))
        eq(uids, set(real), "step %d" % step)
        eq({uid: flags.get(uid, set()) for uid in uids}, real, "flags, step %d" % step)
        c.close()


def test_move_qresync(lab):
    """MOVE under QRESYNC: VANISHED here, new messages there."""
    c = lab.imap()
    c.ok("ENABLE QRESYNC")
    fill(c, "INBOX", 4)
    c.ok("CREATE box")
    c.ok("SELECT INBOX")
    reply = c.ok("UID MOVE 2:3 box")
    eq(vanished(reply, False), [2, 3])
    eq(c.ok("SELECT box").number("EXISTS"), 2)


# -- IDLE -----------------------------------------------------------------

@timeout(60)
def test_idle(lab):
    """An idling session hears of mail, flags and expunges within seconds."""
    user = lab.user()
    a = opened(lab, 2, user)
    b = lab.imap(user)
    b.ok("SELECT INBOX")
    tag = a.idle()
    b.ok("APPEND INBOX ", Lit(PLAIN))
    a.wait_untagged(lambda item: item.name == "EXISTS" and item.number == 3)
    b.ok("STORE 1 +FLAGS.SILENT (\\Flagged)")
    seen = a.wait_untagged(lambda item: item.name == "FETCH")
    has(b"\\Flagged", seen[-1].raw)
    b.ok("STORE 2 +FLAGS.SILENT (\\Deleted)")
    b.ok("EXPUNGE")
    a.wait_untagged(lambda item: item.name == "EXPUNGE" and item.number == 2)
    a.done(tag)
    eq(a.ok("UID SEARCH ALL").numbers(), [1, 3])


@timeout(60)
def test_idle_delivery(lab):
    """An LMTP delivery wakes an idling session."""
    user = lab.user()
    a = opened(lab, 0, user)
    tag = a.idle()
    eq(lab.lmtp().deliver(PLAIN, user)[user][0], 250)
    a.wait_untagged(lambda item: item.name == "EXISTS" and item.number == 1)
    a.done(tag)


def test_idle_ends(lab):
    """DONE at once, other words are BAD, and the session goes on."""
    c = opened(lab, 1)
    for _ in range(5):
        eq(c.done(c.idle()).status, "OK")
    tag = c.idle()
    c.send_raw(b"FOO\r\n")
    eq(c.finish(tag).status, "BAD")
    c.ok("NOOP")


def test_idle_many_sessions(lab):
    """Five idling sessions all hear of one delivery."""
    user = lab.user()
    clients = [lab.imap(user) for _ in range(5)]
    tags = []
    for client in clients:
        client.ok("SELECT INBOX")
        tags.append(client.idle())
    lab.imap(user).ok("APPEND INBOX ", Lit(PLAIN))
    for client, tag in zip(clients, tags):
        client.wait_untagged(lambda item: item.name == "EXISTS" and item.number == 1)
        client.done(tag)


# -- NOTIFY ---------------------------------------------------------------

@timeout(60)
def test_notify_other_mailbox(lab):
    """NOTIFY: changes of mailboxes that aren't selected come as STATUS."""
    user = lab.user()
    a, b = lab.imap(user), lab.imap(user)
    a.ok("CREATE box")
    a.ok("SELECT INBOX")
    a.ok("NOTIFY SET (SELECTED (MessageNew MessageExpunge FlagChange)) "
         "(PERSONAL (MessageNew MessageExpunge))")
    b.ok("APPEND box ", Lit(PLAIN))
    seen = a.wait_untagged(lambda item: item.name == "STATUS")
    has(b"box", seen[-1].raw)
    a.ok("NOTIFY NONE")


@timeout(60)
def test_notify_status(lab):
    """NOTIFY SET STATUS answers with STATUS of all at once."""
    user = lab.user()
    a = lab.imap(user)
    a.ok("CREATE box")
    a.ok("APPEND box ", Lit(PLAIN))
    reply = a.ok("NOTIFY SET STATUS (PERSONAL (MessageNew MessageExpunge))")
    texts = b"".join(item.raw for item in reply.all("STATUS"))
    has(b"box", texts)
    has(b"INBOX", texts)


@timeout(60)
def test_notify_selected(lab):
    """NOTIFY (SELECTED ...): new mail comes with the items asked for."""
    user = lab.user()
    a, b = lab.imap(user), lab.imap(user)
    a.ok("SELECT INBOX")
    a.ok("NOTIFY SET (SELECTED (MessageNew (UID BODY.PEEK[HEADER.FIELDS (SUBJECT)]) "
         "MessageExpunge))")
    b.ok("APPEND INBOX ", Lit(PLAIN))
    # Dovecot tells it in the next command, not by itself.
    reply = a.ok("NOOP")
    has(b"Lunch on Friday", b"".join(item.raw for item in reply.all("FETCH")))


@timeout(60)
def test_notify_mailbox_names(lab):
    """NOTIFY MailboxName and SubscriptionChange come as LIST."""
    user = lab.user()
    a, b = lab.imap(user), lab.imap(user)
    a.ok("NOTIFY SET (PERSONAL (MailboxName SubscriptionChange))")
    b.ok("CREATE fresh")
    seen = a.wait_untagged(lambda item: item.name == "LIST", timeout=20)
    has(b"fresh", seen[-1].raw)
