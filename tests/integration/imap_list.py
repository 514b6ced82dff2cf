"""Mailboxes: create, delete, rename, subscribe, list; names of every kind."""

import time

from imapclient import ImapError, Lit, quoted
from mails import PLAIN, fill, simple
from tap import eq, has, only, timeout, true


def names(client, pattern="*", verb="LIST", options=""):
    """{name: attributes} of a LIST."""
    reply = client.ok(verb, ' "" ', quoted(pattern), options)
    return {item.data[2].decode("utf-8", "backslashreplace"):
            {flag.decode() for flag in item.data[0]} for item in reply.all(verb)}


def mutf7(name):
    """A name in IMAP's modified UTF-7."""
    out, run = b"", ""
    for char in name + "\0":
        if 0x20 <= ord(char) <= 0x7e or char == "\0":
            if run:
                out += encode_run(run)
                run = ""
            out += b"&-" if char == "&" else (b"" if char == "\0" else char.encode())
        else:
            run += char
    return out


def encode_run(run):
    """One shifted run of modified UTF-7."""
    import base64
    raw = base64.b64encode(run.encode("utf-16-be")).rstrip(b"=").replace(b"/", b",")
    return b"&" + raw + b"-"


# -- create and delete ----------------------------------------------------

def test_create_list_delete(lab):
    """The plain life of a mailbox."""
    c = lab.imap()
    eq(set(names(c)), {"INBOX"})
    c.ok("CREATE box")
    eq(set(names(c)), {"INBOX", "box"})
    has("ALREADYEXISTS", c.no("CREATE box").code)
    c.cmd("CREATE inbox")
    has("ALREADYEXISTS", c.no("CREATE inbox").code)
    c.ok("APPEND box ", Lit(PLAIN))
    c.ok("DELETE box")
    eq(set(names(c)), {"INBOX"})
    has("NONEXISTENT", c.no("DELETE box").code)
    c.no("DELETE INBOX")
    c.ok("CREATE box")
    eq(c.ok("SELECT box").number("EXISTS"), 0, "the old content is gone")


def test_uidvalidity_of_recreated(lab):
    """A name used again has another UIDVALIDITY or never the same UIDs."""
    c = lab.imap()
    c.ok("CREATE box")
    c.ok("APPEND box ", Lit(PLAIN))
    first = c.ok("STATUS box (UIDVALIDITY)").one("STATUS")[1][1]
    c.ok("DELETE box")
    c.ok("CREATE box")
    true(c.ok("STATUS box (UIDVALIDITY)").one("STATUS")[1][1] != first, "UIDVALIDITY")


def test_hierarchy(lab):
    """CREATE a/b/c makes parents that can't be selected, or real ones."""
    c = lab.imap()
    c.ok("CREATE a/b/c")
    got = names(c)
    eq(set(got), {"INBOX", "a", "a/b", "a/b/c"})
    has("\\Noselect", got["a"])
    has("\\HasChildren", got["a/b"])
    has("\\HasNoChildren", got["a/b/c"])
    c.no("SELECT a")
    c.no("APPEND a ", Lit(PLAIN))
    c.ok("CREATE a")
    eq(c.ok("SELECT a").number("EXISTS"), 0)
    has("\\HasChildren", names(c)["a"])
    true("\\Noselect" not in names(c)["a"], "a is real now")


def test_create_trailing_separator(lab):
    """CREATE `folder/` makes a parent that can't be selected."""
    c = lab.imap()
    c.ok("CREATE folder/")
    c.ok("CREATE folder/sub")
    eq(set(names(c, "folder*")), {"folder", "folder/sub"})


def test_delete_parent(lab):
    """DELETE of a parent keeps the children."""
    c = lab.imap()
    c.ok("CREATE p")
    c.ok("CREATE p/child")
    c.ok("APPEND p/child ", Lit(PLAIN))
    c.ok("DELETE p")
    got = names(c)
    has("\\Noselect", got["p"])
    eq(c.ok("SELECT p/child").number("EXISTS"), 1)
    c.ok("CLOSE")
    c.ok("DELETE p/child")
    true("p/child" not in names(c), "the child is gone")


def test_delete_selected(lab):
    """DELETE of a selected mailbox: another session is told or cut off."""
    user = lab.user()
    a, b = lab.imap(user), lab.imap(user)
    a.ok("CREATE box")
    a.ok("APPEND box ", Lit(PLAIN))
    b.ok("SELECT box")
    a.ok("DELETE box")
    lab.node().expect_log("Error: ")
    try:
        b.cmd("NOOP")
        b.cmd("FETCH 1 BODY[]")
    except ImapError:
        pass  # Cut off: Dovecot's way to say that the mailbox is gone.
    eq(set(names(a)), {"INBOX"})


def test_refused_names(lab):
    """What sdbox refuses is refused, and nothing breaks."""
    c = lab.imap()
    for name in ("", "/", "//", "/a", "a//b", "a/"*40):
        c.cmd("CREATE ", quoted(name))
    for name in ("..", "../x", "a/../b", "."):
        c.cmd("CREATE ", quoted(name))
    c.bad("CREATE")
    c.ok("LIST \"\" *")
    c.ok("CREATE fine")


# -- rename ---------------------------------------------------------------

def content(client, name):
    """[(uid, body)] of a mailbox."""
    client.ok("EXAMINE ", quoted(name))
    got = client.ok("UID FETCH 1:* BODY.PEEK[]").fetches()
    return [(int(item["UID"]), item["BODY[]"]) for item in got.values()]


def test_rename(lab):
    """RENAME keeps UIDs, UIDVALIDITY, flags, content."""
    c = lab.imap()
    c.ok("CREATE old")
    fill(c, "old", 3)
    before = content(c, "old")
    validity = c.ok("STATUS old (UIDVALIDITY)").one("STATUS")[1]
    c.ok("CLOSE")
    c.ok("RENAME old new")
    eq(set(names(c)), {"INBOX", "new"})
    eq(content(c, "new"), before)
    eq(c.ok("STATUS new (UIDVALIDITY)").one("STATUS")[1], validity)
    c.no("SELECT old")


def test_rename_subtree(lab):
    """Children move with their parent."""
    c = lab.imap()
    for name in ("t", "t/a", "t/a/x", "t/b", "tt", "t2/a"):
        c.ok("CREATE ", name)
        c.ok("APPEND ", name, " ", Lit(simple(1, subject=name)))
    c.ok("RENAME t moved")
    got = set(names(c))
    eq(got, {"INBOX", "moved", "moved/a", "moved/a/x", "moved/b", "tt", "t2", "t2/a"})
    has(b"Subject: t/a/x", content(c, "moved/a/x")[0][1])


def test_rename_across_parents(lab):
    """Into another tree, whose parents are made as needed."""
    c = lab.imap()
    c.ok("CREATE a/b/c")
    c.ok("APPEND a/b/c ", Lit(PLAIN))
    c.ok("RENAME a/b x/y/b")
    got = set(names(c))
    true({"x/y/b", "x/y/b/c", "x", "x/y"} <= got, "new tree: %r" % got)
    true("a/b" not in got and "a/b/c" not in got, "old tree: %r" % got)
    eq(content(c, "x/y/b/c"), [(1, PLAIN)])


def test_rename_refused(lab):
    """Onto an existing name, of none, into itself."""
    c = lab.imap()
    c.ok("CREATE a/sub")
    c.ok("CREATE b")
    has("ALREADYEXISTS", c.no("RENAME a/sub b").code)
    has("NONEXISTENT", c.no("RENAME nowhere elsewhere").code)
    c.no("RENAME a a/sub/deep")
    c.no("RENAME b b")
    eq(set(names(c)), {"INBOX", "a", "a/sub", "b"})


def test_rename_nonexistent_parent(lab):
    """A parent that is only a name is renamed with its children."""
    c = lab.imap()
    c.ok("CREATE ghost/one")
    c.ok("CREATE ghost/two")
    c.ok("RENAME ghost real")
    got = set(names(c))
    true({"real/one", "real/two"} <= got, repr(got))
    true("ghost/one" not in got, repr(got))


def test_rename_inbox(lab):
    """RENAME INBOX moves the mail and leaves an empty INBOX, or is refused."""
    c = lab.imap()
    fill(c, "INBOX", 3)
    reply = c.cmd("RENAME INBOX saved")
    if reply.ok:
        eq([row[1] for row in content(c, "saved")], [simple(n) for n in (1, 2, 3)])
        eq(content(c, "INBOX"), [])
    else:
        eq(len(content(c, "INBOX")), 3)
    has("INBOX", set(names(c)))
    c.ok("UNSELECT")
    c.ok("APPEND INBOX ", Lit(PLAIN))


def test_rename_while_selected(lab):
    """Another session has it open: nothing is lost."""
    user = lab.user()
    a, b = lab.imap(user), lab.imap(user)
    a.ok("CREATE box")
    fill(a, "box", 3)
    b.ok("SELECT box")
    a.ok("RENAME box other")
    lab.node().expect_log("Error: ")
    try:
        b.cmd("STORE 1 +FLAGS (\\Seen)")
        b.cmd("NOOP")
    except ImapError:
        pass  # Cut off: the name that it had opened is gone.
    eq(len(content(a, "other")), 3)


def test_rename_swap(lab):
    """a -> t, b -> a, t -> b: contents change places."""
    c = lab.imap()
    for name in "ab":
        c.ok("CREATE ", name)
        c.ok("APPEND ", name, " ", Lit(simple(1, subject=name)))
    for pair in ("a t", "b a", "t b"):
        c.ok("RENAME ", pair)
    has(b"Subject: b", content(c, "a")[0][1])
    has(b"Subject: a", content(c, "b")[0][1])


# -- subscriptions --------------------------------------------------------

def test_subscribe(lab):
    """SUBSCRIBE, LSUB, UNSUBSCRIBE; of what isn't there too."""
    c = lab.imap()
    c.ok("CREATE one")
    c.ok("CREATE two/deep")
    for name in ("one", "two/deep"):
        c.ok("SUBSCRIBE ", name)
    eq(set(names(c, "*", "LSUB")), {"one", "two/deep"})
    eq(names(c, "%", "LSUB"), {"one": set(), "two": {"\\NoSelect"}}
       if "\\NoSelect" in names(c, "%", "LSUB").get("two", set())
       else {"one": set(), "two": {"\\Noselect"}})
    c.ok("DELETE one")
    has("one", names(c, "*", "LSUB"), "a subscription outlives its mailbox")
    c.ok("UNSUBSCRIBE one")
    eq(set(names(c, "*", "LSUB")), {"two/deep"})
    c.cmd("SUBSCRIBE nowhere")
    c.cmd("UNSUBSCRIBE nowhere")


def test_subscription_of_renamed(lab):
    """What sdbox does with subscriptions at RENAME: they keep their names."""
    c = lab.imap()
    c.ok("CREATE one")
    c.ok("SUBSCRIBE one")
    c.ok("RENAME one two")
    has("one", names(c, "*", "LSUB"))


def test_list_extended(lab):
    """Selection and return options of RFC 5258."""
    c = lab.imap()
    for name in ("a", "a/b", "c", "d/e"):
        c.ok("CREATE ", name)
    for name in ("a/b", "c"):
        c.ok("SUBSCRIBE ", name)
    got = {item.data[2]: item.data[0] for item in
           c.ok('LIST (SUBSCRIBED) "" *').all("LIST")}
    eq(set(got), {b"a/b", b"c"})
    has(b"\\Subscribed", got[b"c"])
    got = {item.data[2]: item.data[0] for item in
           c.ok('LIST "" (a c) RETURN (SUBSCRIBED CHILDREN)').all("LIST")}
    eq(set(got), {b"a", b"c"})
    has(b"\\HasChildren", got[b"a"])
    got = {item.data[2]: item for item in
           c.ok('LIST (SUBSCRIBED RECURSIVEMATCH) "" %').all("LIST")}
    eq(set(got), {b"a", b"c"})
    has(b"CHILDINFO", got[b"a"].raw)


def test_list_status(lab):
    """LIST RETURN (STATUS ...)."""
    c = lab.imap()
    for number, name in enumerate(("a", "b", "x/y"), 1):
        c.ok("CREATE ", name)
        fill(c, name, number)
    reply = c.ok('LIST "" * RETURN (STATUS (MESSAGES UNSEEN))')
    got = {item.data[0]: item.data[1][1] for item in reply.all("STATUS")}
    eq(got, {b"INBOX": b"0", b"a": b"1", b"b": b"2", b"x/y": b"3"})


def test_special_use(lab):
    """SPECIAL-USE from the config, as attribute, filter and return option."""
    c = lab.imap()
    for name in ("Drafts", "Sent", "other"):
        c.ok("CREATE ", name)
    got = names(c)
    has("\\Drafts", got["Drafts"])
    has("\\Sent", got["Sent"])
    eq({item.data[2] for item in c.ok('LIST (SPECIAL-USE) "" *').all("LIST")},
       {b"Drafts", b"Sent"})
    reply = c.ok('LIST "" Sent RETURN (SPECIAL-USE)')
    has(b"\\Sent", reply.one("LIST")[0])


def test_special_use_create(lab):
    """CREATE (USE ...) isn't advertised: Dovecot makes the mailbox and no more.
    What the config says is in the metadata, too."""
    user = lab.user()
    c = lab.imap(user)
    c.ok("CREATE Junkyard (USE (\\Junk))")
    c.ok("CREATE Sent")
    got = names(c, options=" RETURN (SPECIAL-USE)")
    eq(got["Junkyard"] & {"\\Junk", "\\Sent"}, set())
    eq(c.ok("GETMETADATA Junkyard /private/specialuse").one("METADATA")[1],
       [b"/private/specialuse", None])
    eq(c.ok("GETMETADATA Sent /private/specialuse").one("METADATA")[1],
       [b"/private/specialuse", b"\\Sent"])
    c.ok("RENAME Sent Post")
    true("\\Sent" not in names(c, options=" RETURN (SPECIAL-USE)")["Post"], "goes by the name")


# -- patterns and names ---------------------------------------------------

def test_patterns(lab):
    """% and * and references."""
    c = lab.imap()
    for name in ("a", "ab", "a/b", "a/b/c", "b/a", "INBOX/sub"):
        c.ok("CREATE ", name)
    cases = {"%": {"INBOX", "a", "ab", "b"}, "a%": {"a", "ab"}, "a*":
             {"a", "ab", "a/b", "a/b/c"}, "a/%": {"a/b"}, "%/%":
             {"a/b", "b/a", "INBOX/sub"}, "*/c": {"a/b/c"}, "*b":
             {"b", "ab", "a/b", "INBOX/sub"}, "inbox": {"INBOX"}, "nope": set(),
             "INBOX*": {"INBOX", "INBOX/sub"}}
    for pattern, wanted in cases.items():
        eq(set(names(c, pattern)), wanted, pattern)
    eq({item.data[2] for item in c.ok('LIST "a/" *').all("LIST")}, {b"a/b", b"a/b/c"})
    eq(c.ok('LIST "" ""').one("LIST")[1:], [b"/", b""])


NAMES = ["with space", "per%cent", "st*ar", "quo\"te", "back\\slash", "under_score",
         "semi;colon", "am&amp", "\u00dcml\u00e4ut", "\u65e5\u672c\u8a9e",
         "\U0001f600 smile", "e\u0301 combining", "UPPER", "upper", "trailing ",
         " leading", "dots.and.more", "#hash", "x'y", "(paren)", "{3}",
         "[b]", "tab\tin"]


def test_names_of_every_kind(lab):
    """Created, listed, filled, selected, renamed, subscribed, deleted."""
    c = lab.imap()
    for name in NAMES:
        wire = quoted(mutf7(name))
        reply = c.cmd("CREATE ", wire)
        if "\t" in name:
            continue
        eq(reply.status, "OK", name)
        c.ok("APPEND ", wire, " ", Lit(simple(1, subject=ascii(name))))
        c.ok("SUBSCRIBE ", wire)
        c.ok("SELECT ", wire)
        has(ascii(name).encode(), c.ok("FETCH 1 BODY.PEEK[]").fetches()[1]["BODY[]"])
        c.ok("CLOSE")
    wires = {mutf7(name).decode() for name in NAMES if "\t" not in name}
    true(wires <= set(names(c)), "missing: %r" % (wires - set(names(c))))
    true(wires <= set(names(c, "*", "LSUB")), "subscribed")
    for name in wires:
        c.ok("RENAME ", quoted(name), " ", quoted("r " + name))
        c.ok("DELETE ", quoted("r " + name))
    eq(set(names(c)) - {"tab\tin"}, {"INBOX"})


def test_names_against_oracle(lab):
    """Which names are accepted, and how each is listed, is what sdbox says.

    Names that sdbox refuses for the file system's sake (~home) aren't here."""
    oracle = lab.oracle()
    user = lab.user(lab.node(), oracle)
    one, other = lab.imap(user), lab.imap(user, oracle)
    odd = ["&AAA-", "&", "&-", "a&-b", "&2D0-", "&Jjo!", "bad&", "\u00fc", "a/&AAo-/b",
           "inbox/x", "Inbox/Y", "x" * 255, "x" * 256, "a.b", "NIL"]
    for name in odd:
        got = [c.cmd("CREATE ", quoted(name)).status for c in (one, other)]
        eq(got[0], got[1], name)
    eq(set(names(one)), set(names(other)))


def test_name_lengths(lab):
    """255 characters at one level; a long path."""
    c = lab.imap()
    long_one = "n" * 255
    c.ok("CREATE ", long_one)
    c.ok("APPEND ", long_one, " ", Lit(PLAIN))
    path = "/".join("level%02d" % n for n in range(16))
    c.ok("CREATE ", path)
    c.ok("APPEND ", path, " ", Lit(PLAIN))
    got = names(c)
    has(long_one, got)
    has(path, got)
    c.no("CREATE ", "y" * 300)
    # The limit of 255 counts octets of UTF-7 where a name is a file's name.
    wide = "\u00fc" * (120 if lab.is_pgbox else 80)
    c.ok("CREATE ", quoted(mutf7(wide)))
    has(mutf7(wide).decode(), names(c))


def test_case_of_names(lab):
    """Names differ by case, save for INBOX."""
    c = lab.imap()
    c.ok("CREATE Box")
    c.ok("CREATE box")
    c.ok("APPEND box ", Lit(PLAIN))
    eq(c.ok("SELECT Box").number("EXISTS"), 0)
    eq(c.ok("SELECT iNbOx").number("EXISTS"), 0)


def test_dot_separator(lab):
    """The other separator, `.`: hierarchy, rename, patterns."""
    node = lab.node("dots", separator=".")
    c = lab.imap(lab.user(node), node)
    eq(c.ok("NAMESPACE").one("NAMESPACE")[0], [[b"", b"."]])
    c.ok("CREATE a.b.c")
    c.ok("APPEND a.b.c ", Lit(PLAIN))
    eq(set(names(c)), {"INBOX", "a", "a.b", "a.b.c"})
    eq(set(names(c, "%")), {"INBOX", "a"})
    c.ok("RENAME a.b z")
    eq(content(c, "z.c"), [(1, PLAIN)])
    c.ok("SUBSCRIBE z.c")
    eq(set(names(c, "*", "LSUB")), {"z.c"})


@only("pgbox")
def test_dot_separator_slash_in_name(lab):
    """With `.` a `/` is a plain character: sdbox can't, it needs a file name."""
    node = lab.node("dots", separator=".")
    c = lab.imap(lab.user(node), node)
    c.ok("CREATE ", quoted("one/two"))
    c.ok("APPEND ", quoted("one/two"), " ", Lit(PLAIN))
    eq(set(names(c)), {"INBOX", "one/two"})


def test_two_sessions(lab):
    """What one session creates, renames, deletes, the other sees at once."""
    user = lab.user()
    a, b = lab.imap(user), lab.imap(user)
    a.ok("CREATE box")
    has("box", names(b))
    b.ok("RENAME box bax")
    has("bax", names(a))
    a.ok("SUBSCRIBE bax")
    has("bax", names(b, "*", "LSUB"))
    a.ok("DELETE bax")
    eq(set(names(b)), {"INBOX"})


@timeout(280)
def test_ten_thousand(lab):
    """10,000 mailboxes: all listed once, in bounded time; a subtree renamed."""
    user = lab.user()
    c = lab.imap(user)
    # On sdbox each CREATE takes time that grows with the number of mailboxes.
    total = 10000 if lab.is_pgbox else 1000
    paths = ["g%02d/m%03d" % (n // 100, n % 100) for n in range(total)]
    for start in range(0, len(paths), 500):
        tags = [c.send("CREATE ", path) for path in paths[start:start + 500]]
        true(all(c.finish(tag).ok for tag in tags), "all created")
    if lab.is_pgbox:
        lab.cluster.reset_statements()
    started = time.monotonic()
    got = names(lab.imap(user))
    spent = time.monotonic() - started
    eq(len(got), total + total // 100 + 1)
    true(set(paths) <= set(got), "all names")
    true(spent < 10, "LIST took %.1f s" % spent)
    if lab.is_pgbox:
        counts = lab.cluster.statements()
        true(sum(counts.values()) <= 6, "statements of login and LIST: %r" % counts)
    eq(len(names(c, "g07/%")), 100)
    c.ok("RENAME g07 h07")
    eq(len(names(c, "h07/%")), 100)
    eq(len(names(c, "g07/%")), 0)
