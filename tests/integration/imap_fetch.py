"""FETCH: every item, every form of section, partials, BINARY."""

from imapclient import Lit, flags_of
from mails import MIXED, PLAIN, fill, simple
from tap import eq, has, true


def opened(lab, *messages):
    """A client with the messages in its selected INBOX."""
    c = lab.imap()
    for message in messages:
        c.ok("APPEND INBOX ", Lit(message))
    c.ok("SELECT INBOX")
    return c


def fetch(client, items, seq=1):
    """The items of one message."""
    return client.ok("FETCH %d (%s)" % (seq, items)).fetches()[seq]


def test_envelope(lab):
    """ENVELOPE with its addresses."""
    c = opened(lab, PLAIN)
    got = fetch(c, "ENVELOPE")["ENVELOPE"]
    eq(got[0], b"Mon, 2 Jan 2023 10:00:00 +0100")
    eq(got[1], b"Lunch on Friday")
    anna = [[b"Anna Berg", None, b"anna", b"example.org"]]
    eq(got[2:5], [anna, anna, anna])
    eq(got[5], [[b"Carl", None, b"carl", b"example.org"],
                [b"D. E.", None, b"de", b"example.net"]])
    eq(got[6], [[None, None, b"list", b"example.org"]])
    eq(got[7:], [None, None, b"<one@example.org>"])


def test_bodystructure(lab):
    """BODY and BODYSTRUCTURE of a nested message."""
    c = opened(lab, MIXED)
    got = fetch(c, "BODY BODYSTRUCTURE")
    short, full = got["BODY"], got["BODYSTRUCTURE"]
    eq(short[-1], b"mixed")
    eq(short[0][:1], [[b"text", b"plain", [b"charset", b"utf-8"], None, None,
                       b"quoted-printable", b"29", b"0"]])
    eq(full[1][:7], [b"application", b"octet-stream", [b"name", b"a.bin"],
                     b"<part@example.org>", None, b"base64", b"16"])
    eq(full[1][8], [b"attachment", [b"filename", b"a.bin"]])
    eq(full[2][:2], [b"message", b"rfc822"])
    eq(full[2][7][1], b"nested")
    eq(full[2][8][1][:2], [b"text", b"x-two"])


def test_macros(lab):
    """ALL, FAST, FULL."""
    c = opened(lab, PLAIN)
    base = {"FLAGS", "INTERNALDATE", "RFC822.SIZE"}
    eq(set(c.ok("FETCH 1 FAST").fetches()[1]), base)
    eq(set(c.ok("FETCH 1 ALL").fetches()[1]), base | {"ENVELOPE"})
    eq(set(c.ok("FETCH 1 FULL").fetches()[1]), base | {"ENVELOPE", "BODY"})


def test_whole_sections(lab):
    """BODY[], HEADER, TEXT and the RFC822 names."""
    c = opened(lab, MIXED)
    head, _, text = MIXED.partition(b"\r\n\r\n")
    head += b"\r\n\r\n"
    got = fetch(c, "BODY.PEEK[] BODY.PEEK[HEADER] BODY.PEEK[TEXT] RFC822.SIZE "
                   "RFC822.HEADER")
    eq(got["BODY[]"], MIXED)
    eq(got["BODY[HEADER]"], head)
    eq(got["RFC822.HEADER"], head)
    eq(got["BODY[TEXT]"], text)
    eq(got["RFC822.SIZE"], b"%d" % len(MIXED))
    true("\\Seen" not in flags_of(fetch(c, "FLAGS")["FLAGS"]), "PEEK sets no \\Seen")
    got = fetch(c, "RFC822.TEXT RFC822")
    eq((got["RFC822"], got["RFC822.TEXT"]), (MIXED, text))
    has("\\Seen", flags_of(fetch(c, "FLAGS")["FLAGS"]))


def test_seen_is_told(lab):
    """A FETCH of BODY[] sets \\Seen and says so in the same response."""
    c = opened(lab, PLAIN)
    has("\\Seen", flags_of(fetch(c, "BODY[TEXT]")["FLAGS"]))
    true("FLAGS" not in fetch(c, "BODY[TEXT]"), "the second time says nothing")


def test_part_sections(lab):
    """BODY[1], [1.1], [1.MIME], [3], [3.HEADER], [3.TEXT], [3.2] ..."""
    c = opened(lab, MIXED)
    cases = {
        "1.1": b"Gr=C3=BC=C3=9Fe aus K=C3=B6ln",
        "1.2": b"<p>Gr&uuml;&szlig;e</p>",
        "2": b"AAECAwQFBgcICQ==",
        "2.MIME": (b"Content-Type: application/octet-stream; name=\"a.bin\"\r\n"
                   b"Content-Transfer-Encoding: base64\r\n"
                   b"Content-Disposition: attachment; filename=\"a.bin\"\r\n"
                   b"Content-ID: <part@example.org>\r\n\r\n"),
        "3.MIME": b"Content-Type: message/rfc822\r\n\r\n",
        "3.HEADER": (b"From: inner@example.org\r\nSubject: nested\r\n"
                     b"Content-Type: multipart/mixed; boundary=deep\r\n\r\n"),
        "3.1": b"first nested",
        "3.2": b"second nested",
        "3.2.MIME": b"Content-Type: text/x-two\r\n\r\n",
        "3.HEADER.FIELDS (SUBJECT)": b"Subject: nested\r\n\r\n",
    }
    for section, wanted in cases.items():
        got = fetch(c, "BODY.PEEK[%s]" % section)
        eq(list(got.values()), [wanted], section)
    nested = MIXED.partition(b"Content-Type: message/rfc822\r\n\r\n")[2]
    # Dovecot counts the last CRLF as the nested message's, if that is multipart.
    nested = nested.partition(b"--outer--")[0]
    eq(fetch(c, "BODY.PEEK[3]")["BODY[3]"], nested)
    eq(fetch(c, "BODY.PEEK[3.TEXT]")["BODY[3.TEXT]"], nested.partition(b"\r\n\r\n")[2])


def test_part_missing(lab):
    """A part that isn't there is an empty string."""
    c = opened(lab, MIXED, PLAIN)
    eq(fetch(c, "BODY.PEEK[9]")["BODY[9]"], b"")
    eq(fetch(c, "BODY.PEEK[1]", 2)["BODY[1]"], PLAIN.partition(b"\r\n\r\n")[2])
    eq(fetch(c, "BODY.PEEK[2]", 2)["BODY[2]"], b"")


def test_header_fields(lab):
    """HEADER.FIELDS and .NOT: any case, missing ones, twice."""
    c = opened(lab, PLAIN)
    got = fetch(c, "BODY.PEEK[HEADER.FIELDS (subject X-NOPE FROM)]")
    eq(list(got.values()), [b"From: Anna Berg <anna@example.org>\r\n"
                            b"Subject: Lunch on Friday\r\n\r\n"])
    got = fetch(c, "BODY.PEEK[HEADER.FIELDS.NOT (Return-Path To Cc From Date Message-ID)]")
    eq(list(got.values()), [b"Subject: Lunch on Friday\r\nX-Colour: green\r\n\r\n"])
    # From the cache the second time.
    got = fetch(c, "BODY.PEEK[HEADER.FIELDS (X-Colour)]")
    eq(list(got.values()), [b"X-Colour: green\r\n\r\n"])
    eq(list(fetch(c, "BODY.PEEK[HEADER.FIELDS (X-Colour)]").values()),
       [b"X-Colour: green\r\n\r\n"])


def test_partial(lab):
    """<offset.length> at every rim."""
    c = opened(lab, PLAIN)
    size = len(PLAIN)
    for offset, length in ((0, 1), (0, size), (0, size + 100), (5, 10), (size - 3, 3),
                           (size - 3, 100), (size, 10), (size + 5, 10), (100, 0x7fffffff)):
        got = fetch(c, "BODY.PEEK[]<%d.%d>" % (offset, length))
        eq(got["BODY[]<%d>" % offset], PLAIN[offset:offset + length],
           "<%d.%d>" % (offset, length))
    head = PLAIN.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    eq(fetch(c, "BODY.PEEK[HEADER]<3.9>")["BODY[HEADER]<3>"], head[3:12])
    eq(fetch(c, "BODY.PEEK[TEXT]<6.8>")["BODY[TEXT]<6>"],
       PLAIN[len(head):][6:14])
    got = fetch(c, "BODY.PEEK[HEADER.FIELDS (SUBJECT)]<3.5>")
    eq(list(got.values()), [b"ject:"])


def test_partial_of_lf_message(lab):
    """A message stored with bare LF is read with CRLF, also in pieces."""
    c = opened(lab, PLAIN.replace(b"\r\n", b"\n"))
    whole = fetch(c, "BODY.PEEK[]")["BODY[]"]
    eq(whole, PLAIN)
    for offset in range(0, len(whole), 37):
        got = fetch(c, "BODY.PEEK[]<%d.37>" % offset)
        eq(got["BODY[]<%d>" % offset], whole[offset:offset + 37])


def test_partial_backwards(lab):
    """Pieces fetched from the end to the start."""
    body = "".join("line %05d of a longer body\r\n" % n for n in range(3000))
    message = simple(1, body=body)
    c = opened(lab, message)
    got = b""
    for offset in range(len(message) // 5000 * 5000, -1, -5000):
        got = fetch(c, "BODY.PEEK[]<%d.5000>" % offset)["BODY[]<%d>" % offset] + got
    eq(got == message, True)


def test_binary(lab):
    """BINARY decodes base64 and quoted-printable; partials of it."""
    c = opened(lab, MIXED)
    got = fetch(c, "BINARY.PEEK[2] BINARY.PEEK[1.1] BINARY.SIZE[2] BINARY.SIZE[1.1]")
    eq(got["BINARY[2]"], bytes(range(10)))
    eq(got["BINARY[1.1]"], "Grüße aus Köln".encode())
    eq(got["BINARY.SIZE[2]"], b"10")
    eq(got["BINARY.SIZE[1.1]"], b"%d" % len("Grüße aus Köln".encode()))
    eq(fetch(c, "BINARY.PEEK[2]<3.4>")["BINARY[2]<3>"], bytes([3, 4, 5, 6]))


def test_binary_unknown_encoding(lab):
    """BINARY of an unknown encoding is NO [UNKNOWN-CTE]."""
    message = (b"Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n"
               b"Content-Transfer-Encoding: x-rot13\r\n\r\nuryyb\r\n")
    c = opened(lab, message)
    eq(c.no("FETCH 1 BINARY.PEEK[1]").code, "UNKNOWN-CTE")


def test_preview(lab):
    """PREVIEW, LAZY and SNIPPET."""
    c = opened(lab, PLAIN, MIXED)
    true(b"Shall we meet at noon?" in fetch(c, "PREVIEW")["PREVIEW"], "PREVIEW")
    c.ok("FETCH 2 (PREVIEW (LAZY))")
    has("Grüße aus Köln".encode(), fetch(c, "PREVIEW", 2)["PREVIEW"])
    has("Grüße aus Köln".encode(), fetch(c, "PREVIEW (LAZY)", 2)["PREVIEW"])
    reply = c.ok("FETCH 1 (SNIPPET)")
    has(b"Shall we meet", reply.fetches()[1]["SNIPPET"][1])


def test_savedate(lab):
    """SAVEDATE is when this mailbox got the message, not INTERNALDATE."""
    c = lab.imap()
    c.ok('APPEND INBOX "01-Jan-2001 00:00:00 +0000" ', Lit(PLAIN))
    c.ok("SELECT INBOX")
    got = fetch(c, "SAVEDATE INTERNALDATE")
    has(b"2001", got["INTERNALDATE"])
    true(b"2001" not in got["SAVEDATE"], "SAVEDATE isn't INTERNALDATE")
    eq(c.ok("SEARCH SAVEDATESUPPORTED").numbers(), [1])
    eq(c.ok("SEARCH SAVEDSINCE 1-Jan-2010").numbers(), [1])
    eq(c.ok("SEARCH SAVEDBEFORE 1-Jan-2010").numbers(), [])
    c.ok("CREATE other")
    c.ok("COPY 1 other")
    c.ok("SELECT other")
    got = fetch(c, "SAVEDATE INTERNALDATE")
    has(b"2001", got["INTERNALDATE"])
    true(b"2001" not in got["SAVEDATE"], "SAVEDATE of the copy")


def test_modseq_item(lab):
    """MODSEQ is there, grows with a change, and enables CONDSTORE."""
    c = opened(lab, PLAIN, MIXED)
    first = int(fetch(c, "MODSEQ")["MODSEQ"][0])
    reply = c.ok("STORE 1 +FLAGS (\\Seen)")
    second = int(reply.fetches()[1]["MODSEQ"][0])
    true(second > first, "modseq grows")
    eq(int(fetch(c, "MODSEQ")["MODSEQ"][0]), second)


def test_uid_fetch(lab):
    """UID FETCH: ranges, holes, * and none."""
    c = lab.imap()
    fill(c, "INBOX", 6)
    c.ok("SELECT INBOX")
    c.ok("STORE 2,5 +FLAGS.SILENT (\\Deleted)")
    c.ok("EXPUNGE")
    reply = c.ok("UID FETCH 2:5 FLAGS")
    eq([item["UID"] for item in reply.fetches().values()], [b"3", b"4"])
    eq(list(c.ok("UID FETCH * FLAGS").fetches()), [4])
    eq(list(c.ok("UID FETCH 100:* FLAGS").fetches()), [4])
    eq(c.ok("UID FETCH 2,5,77 FLAGS").fetches(), {})
    c.bad("FETCH 9 FLAGS")
    c.bad("FETCH 0 FLAGS")


def test_fetch_order_and_all(lab):
    """FETCH of 1,000 messages: each once, in order, each its own bytes."""
    c = lab.imap()
    fill(c, "INBOX", 1000)
    c.ok("SELECT INBOX")
    reply = c.ok("FETCH 1:* (UID RFC822.SIZE BODY.PEEK[] ENVELOPE)")
    eq([item.number for item in reply.all("FETCH")], list(range(1, 1001)))
    for number, got in reply.fetches().items():
        eq(got["BODY[]"], simple(number))
        eq(int(got["RFC822.SIZE"]), len(simple(number)))
        eq(got["ENVELOPE"][1], b"message %d" % number)


def test_fetch_of_expunged(lab):
    """Another session's expunge: our FETCH is told later, never crashes."""
    user = lab.user()
    a, b = lab.imap(user), lab.imap(user)
    fill(a, "INBOX", 3)
    a.ok("SELECT INBOX")
    b.ok("SELECT INBOX")
    b.ok("STORE 2 +FLAGS (\\Deleted)")
    b.ok("EXPUNGE")
    reply = a.cmd("FETCH 1:3 (UID BODY.PEEK[])")
    got = reply.fetches()
    eq(got[1]["BODY[]"], simple(1))
    eq(got[3]["BODY[]"], simple(3))
    true(reply.ok or "EXPUNGEISSUED" in (reply.code or ""), "OK or EXPUNGEISSUED")
    reply = a.ok("NOOP")
    eq(a.ok("UID SEARCH ALL").numbers(), [1, 3])


def test_emailid_guid(lab):
    """The GUID that doveadm sees is kept by COPY's source and is unique."""
    user = lab.user()
    c = lab.imap(user)
    fill(c, "INBOX", 2)
    out = lab.node().doveadm("fetch", "guid", "mailbox", "INBOX", user=user).stdout
    guids = [line for line in out.splitlines() if line.startswith(b"guid:")]
    eq(len(set(guids)), 2)
