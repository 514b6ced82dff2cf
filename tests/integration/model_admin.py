"""What an administrator does in psql, and what the model says it does.

A transaction is a few statements, plain DML and administrators' functions. Each is
written and done to the model at once, with the rows that it has to answer. If it
is rolled back, or fails at its end, the model is as it was."""

from cache_truth import FLAG_BITS
from cluster import quote
from model_state import STEP, Row

KEYWORDS = ("$Label1", "$Label2", "own", "Other", "k1")
FLAGS = ("\\Seen", "\\Flagged", "\\Answered", "\\Draft", "\\Deleted")
FLAG_BIT = {name: bit for bit, name in FLAG_BITS.items()}
ROLES = ("", "SET ROLE pgbox_admin;\n", "SET ROLE pgbox_owner;\n")
# what ends a transaction by an error
FAILURES = ("SELECT 1 / 0", "UPDATE pgbox.message_state SET modseq = 1", "UPDATE pgbox.mailbox_counter SET unseen = 7",
            "UPDATE pgbox.message_state SET flags = 32", "TRUNCATE pgbox.message_state")
# a mailbox gets no more copies above that
ROOM = 60


def names_of(bits):
    """Flags of a sum."""
    return frozenset(name for bit, name in FLAG_BITS.items() if bits & bit)


def only_keywords(flags):
    """Those that aren't flags."""
    return frozenset(flag for flag in flags if flag not in FLAG_BIT)


def array(numbers):
    """An SQL array of bigint."""
    return "ARRAY[%s]::bigint[]" % ", ".join(map(str, numbers))


class Transaction:
    """Some statements, and what they do to the model's mailboxes."""

    def __init__(self, world):
        self.world = world
        self.rng = world.rng
        self.account = quote(world.user)
        self.statements = []
        # what all of them answer, in any order
        self.rows = []
        self.steps = 7 * (self.update,) + 3 * (self.delete,) + 3 * (self.insert,) + (
            self.to_and_fro, self.to_and_fro, self.move, self.move_at_once, self.change_and_delete, self.change_everywhere, self.store, self.expunge,
            self.copy_by_name, self.expunge_by_name, self.empty, self.undelete, self.undelete)

    def write(self):
        """Think of statements. Returns the SQL, and how it ends."""
        before = self.world.save()
        for _ in range(self.rng.choice((1, 1, 1, 2, 2, 3, 5))):
            self.statement()
        end = self.rng.choice(("COMMIT",) * 7 + ("ROLLBACK",) + (None,))
        if end is None:
            end = self.rng.choice(FAILURES)
        if end != "COMMIT":
            self.world.undo(before)
        text = ";\n".join(self.statements)
        if end != "COMMIT" or len(self.statements) > 1 or self.rng.random() < 0.5:
            text = "BEGIN;\n%s;\n%s" % (text, end)
        return self.rng.choice(ROLES) + text, end

    def statement(self):
        """One of them, sometimes taken back."""
        before = self.world.save() if self.rng.random() < 0.1 else None
        if before:
            self.statements.append("SAVEPOINT s")
        self.rng.choice(self.steps)()
        if before:
            self.statements.append("ROLLBACK TO SAVEPOINT s")
            self.world.undo(before)

    def add(self, sql, rows=()):
        """A statement and the rows that it answers; {tag} is its mark in them."""
        tag = str(len(self.statements))
        self.statements.append(sql.replace("{tag}", quote(tag)))
        self.rows += [[tag] + [str(value) for value in row] for row in rows]

    # -- which rows -----------------------------------------------------------

    def boxes(self):
        """The mailboxes of a statement: one, some, or all."""
        there = list(self.world.boxes.values())
        return sorted(self.rng.sample(there, self.rng.choice((1, 1, 1, 2, 3))), key=lambda box: box.mailbox_id)

    def name_of(self, box):
        """Its name, as functions take it."""
        name, = (name for name, other in self.world.boxes.items() if other is box)
        return quote(name)

    def which(self, boxes):
        """Some messages of the mailboxes: a condition on s, and their UIDs by mailbox."""
        uids = sorted({uid for box in boxes for uid in box.rows})
        dice = self.rng.random()
        if dice < 0.5:
            some = self.rng.sample(uids, min(len(uids), self.rng.randint(1, 5)))
            text, fits = "s.uid = ANY (%s)" % array(some), lambda uid, row: uid in some
        elif dice < 0.65:
            text, fits = "true", lambda uid, row: True
        elif dice < 0.8:
            part, rest = self.rng.choice(((2, 0), (2, 1), (3, 1), (5, 2)))
            text, fits = "s.uid %% %d = %d" % (part, rest), lambda uid, row: uid % part == rest
        elif dice < 0.9:
            flag = self.rng.choice(FLAGS)
            text, fits = "s.flags & %d = 0" % FLAG_BIT[flag], lambda uid, row: flag not in row.flags
        elif dice < 0.95:
            text, fits = "s.keywords IS NULL", lambda uid, row: not only_keywords(row.flags)
        else:
            since = max(box.highest for box in boxes) - STEP * self.rng.randint(0, 4)
            text, fits = "s.modseq > %d" % since, lambda uid, row: row.modseq > since
        text = "s.mailbox_id = ANY (%s) AND %s" % (array(box.mailbox_id for box in boxes), text)
        return text, {box: [uid for uid, row in sorted(box.rows.items()) if fits(uid, row)] for box in boxes}

    def few(self, box):
        """Some UIDs of a mailbox, by number."""
        return self.rng.sample(sorted(box.rows), min(len(box.rows), self.rng.randint(1, 4)))

    # -- what becomes of them -------------------------------------------------

    def flags(self):
        """A change of flags: SQL, and the same to a set."""
        bits = self.rng.choice((1, 2, 4, 8, 16, self.rng.randrange(32)))
        names = names_of(bits)
        return self.rng.choice((
            ("flags = s.flags | %d" % bits, lambda old: old | names),
            ("flags = s.flags & ~%d" % bits, lambda old: old - names),
            ("flags = s.flags # %d" % bits, lambda old: old ^ names),
            ("flags = %d" % bits, lambda old: only_keywords(old) | names),
            ("flags = s.flags", lambda old: old)))

    def keywords(self):
        """A change of keywords."""
        names = self.rng.sample(KEYWORDS, self.rng.randint(1, 2))
        words = frozenset(names)
        numbers = "pgbox.keyword_use(s.mailbox_id, %s)" % ", ".join(map(quote, names))
        change = "keywords = pgbox.keywords_change(s.keywords, %s, %s, %s)"
        return self.rng.choice((
            (change % (numbers, "NULL", "false"), lambda old: old | words),
            (change % ("NULL", numbers, "false"), lambda old: old - words),
            (change % (numbers, "NULL", "true"), lambda old: old - only_keywords(old) | words),
            # in any order, and twice
            ("keywords = %s || %s" % (numbers, numbers), lambda old: old - only_keywords(old) | words),
            ("keywords = '{}'", lambda old: old - only_keywords(old)),
            ("keywords = NULL", lambda old: old - only_keywords(old))))

    def assignment(self):
        """What SET says."""
        dice = self.rng.random()
        if dice < 0.45:
            return self.flags()
        if dice < 0.8:
            return self.keywords()
        # each looks at what was before, and leaves alone what isn't its own
        (flags_text, flags), (keywords_text, keywords) = self.flags(), self.keywords()
        return flags_text + ", " + keywords_text, lambda old: keywords(flags(old))

    def update(self):
        """UPDATE of flags and keywords."""
        boxes = self.boxes()
        where, found = self.which(boxes)
        text, new = self.assignment()
        for box, uids in found.items():
            box.change(uids, new)
        self.add("UPDATE pgbox.message_state AS s SET %s WHERE %s RETURNING {tag}, s.mailbox_id, s.uid, s.modseq" % (text, where),
                 [(box.mailbox_id, uid, box.rows[uid].modseq) for box, uids in found.items() for uid in uids])

    def to_and_fro(self):
        """Flags that are as they were afterwards: only modseqs tell."""
        box = self.rng.choice(self.boxes())
        uids, bit = self.few(box), self.rng.choice(sorted(FLAG_BITS))
        for _ in range(2):
            box.change(uids, lambda old: old ^ names_of(bit))
            self.add("UPDATE pgbox.message_state AS s SET flags = s.flags # %d WHERE s.mailbox_id = %d AND s.uid = ANY (%s)"
                     % (bit, box.mailbox_id, array(uids)))

    def change_everywhere(self):
        """UPDATE of everybody's messages, those of deleted mailboxes too."""
        text, new = self.flags()
        for box in self.world.all_boxes():
            box.change(sorted(box.rows), new)
        self.add("UPDATE pgbox.message_state AS s SET " + text)

    def delete(self):
        """DELETE of messages."""
        boxes = self.boxes()
        where, found = self.which(boxes)
        for box, uids in found.items():
            box.expunge(uids)
        self.add("DELETE FROM pgbox.message AS g USING pgbox.message_state AS s"
                 " WHERE s.mailbox_id = g.mailbox_id AND s.uid = g.uid AND %s RETURNING {tag}, g.mailbox_id, g.uid" % where,
                 [(box.mailbox_id, uid) for box, uids in found.items() for uid in uids])

    def columns(self):
        """What a copy takes from its source; the rest is new."""
        return ["content_id"] + [name for name in ("guid", "received_at") if self.rng.random() < 0.7]

    def copies(self, rows, columns):
        """What INSERT makes of messages: never with flags."""
        made = []
        for row in rows:
            self.world.count += 1
            made.append(Row((), 0, row.date if "received_at" in columns else None,
                            row.origin if "guid" in columns else self.world.count))
        return made

    def insert(self):
        """INSERT ... SELECT: copies by reference, within a mailbox and to others."""
        boxes = self.boxes()
        where, found = self.which(boxes)
        targets = [box for box in self.boxes() if len(box.rows) < ROOM]
        sources = [box.rows[uid] for box, uids in found.items() for uid in uids]
        columns = self.columns()
        rows = []
        for target in targets:
            rows += [(target.mailbox_id, uid) for uid in target.append(self.copies(sources, columns))]
        self.add("INSERT INTO pgbox.message (mailbox_id, %s) SELECT t.mailbox_id, g.%s FROM pgbox.message AS g"
                 " JOIN pgbox.message_state AS s ON s.mailbox_id = g.mailbox_id AND s.uid = g.uid"
                 " CROSS JOIN unnest(%s) AS t (mailbox_id) WHERE %s ORDER BY t.mailbox_id, g.mailbox_id, g.uid"
                 " RETURNING {tag}, mailbox_id, uid"
                 % (", ".join(columns), ", g.".join(columns), array(box.mailbox_id for box in targets), where), rows)

    def move(self):
        """A move of two statements."""
        source, target = self.rng.choice(self.boxes()), self.rng.choice(self.boxes())
        uids, columns = sorted(self.few(source)), self.columns()
        where = "g.mailbox_id = %d AND g.uid = ANY (%s)" % (source.mailbox_id, array(uids))
        new = target.append(self.copies([source.rows[uid] for uid in uids], columns))
        self.add("INSERT INTO pgbox.message (mailbox_id, %s) SELECT %d, g.%s FROM pgbox.message AS g WHERE %s"
                 " ORDER BY g.uid RETURNING {tag}, uid"
                 % (", ".join(columns), target.mailbox_id, ", g.".join(columns), where), [[uid] for uid in new])
        source.expunge(uids)
        self.add("DELETE FROM pgbox.message AS g WHERE %s RETURNING {tag}, g.uid" % where, [[uid] for uid in uids])

    def move_at_once(self):
        """A move of one statement."""
        source, target = self.rng.choice(self.boxes()), self.rng.choice(self.boxes())
        uids, columns = sorted(self.few(source)), self.columns()
        copies = self.copies([source.rows[uid] for uid in uids], columns)
        source.expunge(uids)
        self.add("WITH gone AS (DELETE FROM pgbox.message AS g WHERE g.mailbox_id = %d AND g.uid = ANY (%s) RETURNING g.*)"
                 " INSERT INTO pgbox.message (mailbox_id, %s) SELECT %d, g.%s FROM gone AS g ORDER BY g.uid"
                 " RETURNING {tag}, uid"
                 % (source.mailbox_id, array(uids), ", ".join(columns), target.mailbox_id, ", g.".join(columns)),
                 [[uid] for uid in target.append(copies)])

    def change_and_delete(self):
        """One statement changes some and deletes others: at one modseq."""
        box = self.rng.choice(self.boxes())
        uids = self.few(box)
        changed, gone = uids[::2], uids[1::2]
        text, new = self.flags()
        modseq = box.highest + STEP
        box.change(changed, new, modseq)
        box.expunge(gone, modseq=modseq)
        self.add("WITH changed AS (UPDATE pgbox.message_state AS s SET %s WHERE s.mailbox_id = %d AND s.uid = ANY (%s) RETURNING 1),"
                 " gone AS (DELETE FROM pgbox.message AS g WHERE g.mailbox_id = %d AND g.uid = ANY (%s) RETURNING 1)"
                 " SELECT {tag}, (SELECT count(*) FROM changed), (SELECT count(*) FROM gone)"
                 % (text, box.mailbox_id, array(changed), box.mailbox_id, array(gone)), [(len(changed), len(gone))])

    # -- functions ------------------------------------------------------------

    def store(self):
        """The plugin's STORE, called by hand."""
        box = self.rng.choice(self.boxes())
        uids, flag, keyword = self.few(box), self.rng.choice(FLAGS), self.rng.choice(KEYWORDS)
        how = self.rng.choice("+-")
        add, remove = (FLAG_BIT[flag], 0) if how == "+" else (0, FLAG_BIT[flag])
        words = (keyword, "") if how == "+" else ("", keyword)
        box.store(uids, how, (flag, keyword))
        self.add("SELECT {tag}, s.kind FROM pgbox.message_store(%d, NULL, %s, array_fill(0, ARRAY[%d]), '{%d}', '{%d}', ARRAY['%s'],"
                 " ARRAY['%s'], '{f}') AS s WHERE s.kind = 0"
                 % ((box.mailbox_id, array(uids), len(uids), add, remove) + words), [[0]])

    def expunge(self):
        """The plugin's EXPUNGE, called by hand."""
        box = self.rng.choice(self.boxes())
        uids = self.few(box)
        box.expunge(uids)
        self.add("SELECT {tag}, cardinality(e.uids) FROM pgbox.message_expunge(%d, %s, 'test') AS e"
                 % (box.mailbox_id, array(uids)), [[len(uids)]])

    def copy_by_name(self):
        """message_copy, which moves, too."""
        source, target = self.rng.choice(self.boxes()), self.rng.choice(self.boxes())
        uids, move = self.few(source), self.rng.random() < 0.5
        new = target.append([source.rows[uid] for uid in uids])
        if move:
            source.expunge(uids, moved=True)
        self.add("SELECT {tag}, c.uid, c.new_uid FROM pgbox.message_copy(%s, %s, %s, %s, %s, %s) AS c"
                 % (self.account, self.name_of(source), array(uids), self.account, self.name_of(target), move),
                 zip(uids, new))

    def expunge_by_name(self):
        """messages_expunge, by flags and keywords."""
        box = self.rng.choice(self.boxes())
        wanted, unwanted = self.rng.sample(FLAGS, self.rng.randint(0, 2)), self.rng.sample(FLAGS, self.rng.randint(0, 1))
        keyword = self.rng.choice(KEYWORDS + (None, None, None))
        fit = [uid for uid, row in sorted(box.rows.items()) if set(wanted) <= row.flags and not set(unwanted) & row.flags
               and keyword in (None, *row.flags)]
        limit = self.rng.randint(1, 4)
        box.expunge(fit[:limit])
        self.add("SELECT {tag}, e.expunged, e.more FROM pgbox.messages_expunge(%s, %s, p_with => '%s', p_without => '%s',"
                 " p_keyword => %s, p_limit => %d) AS e"
                 % (self.account, self.name_of(box), " ".join(wanted), " ".join(unwanted),
                    quote(keyword) if keyword else "NULL", limit), [(len(fit[:limit]), "ft"[len(fit) > limit])])

    def empty(self):
        """folder_empty, as a whole or a step of it."""
        box = self.rng.choice(self.boxes())
        limit = self.rng.choice((3, 1000))
        uids = sorted(box.rows)
        box.expunge(uids[:limit])
        self.add("SELECT {tag}, e.expunged, e.more FROM pgbox.folder_empty(%s, %s, %d) AS e"
                 % (self.account, self.name_of(box), limit), [(len(uids[:limit]), "ft"[len(uids) > limit])])

    def undelete(self):
        """message_undelete: by UID, or all that weren't moved away."""
        source, target = self.rng.choice(self.boxes()), self.rng.choice(self.boxes())
        graves = {uid: grave for uid, grave in source.graves.items() if grave.kept}
        if graves and self.rng.random() < 0.6:
            uids = self.rng.sample(sorted(graves), min(len(graves), 3))
            which = array(uids)
        else:
            uids = [uid for uid, grave in graves.items() if not grave.moved]
            which = "NULL"
        limit = self.rng.choice((2, 1000))
        # each comes back once, whatever is there
        uids = sorted(uid for uid in uids if not graves[uid].revived)[:limit]
        if len(target.rows) + len(uids) > ROOM:
            return
        new = target.append([Row(graves[uid].row.flags - {"\\Deleted"}, 0, graves[uid].row.date, graves[uid].row.origin)
                             for uid in uids])
        for uid in uids:
            graves[uid].revived = True
        self.add("SELECT {tag}, u.uid, u.new_uid FROM pgbox.message_undelete(%s, %s, %s, p_into => %s, p_limit => %d) AS u"
                 % (self.account, self.name_of(source), which, self.name_of(target), limit), zip(uids, new))
