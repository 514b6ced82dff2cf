"""Bodies whose base64 is stored decoded: SQL gives the bytes that came, and finds what is wrong."""

import base64
import hashlib
import random

from sqllib import CHUNK, literal, refused, with_store
from tap import eq, has

BYTES = random.Random(1).randbytes(5000)


def encoded(data, line, end):
    """The text of a run: a line that is short or padded has no end."""
    size = line // 4 * 3
    return b"".join(base64.b64encode(data[at:at + size]) + (end if at + size <= len(data) else b"")
                    for at in range(0, len(data), size))


def runs_sql(runs):
    """An integer[]"""
    return "NULL::integer[]" if runs is None else "'{%s}'::integer[]" % ",".join(map(str, runs))


def put(store, original, head, runs, chunk=None):
    """Store a content of this body; its body_id."""
    digest = literal(hashlib.sha256(original).digest(), "bytea")
    store.db.sql("BEGIN")
    try:
        content = store.db.value("SELECT pgbox.content_put('', true, %s, %d, %s, %d, %d, NULL, NULL, %s)" % (
            digest, len(original), literal(head, "bytea"), len(original), len(original), runs_sql(runs)))
        if chunk:
            store.db.sql("SELECT pgbox.body_chunk_put(%s, 1, %s, %s)" % (digest, literal(chunk[0], "bytea"), runs_sql(chunk[1])))
    except Exception:
        store.db.sql("ROLLBACK")
        raise
    store.db.sql("COMMIT")
    return int(store.db.value("SELECT body_id FROM pgbox.content WHERE content_id = %s" % content))


def read(store, body):
    """The bytes, as SQL gives them."""
    return bytes.fromhex(store.admin.value("SELECT encode(pgbox.body_read(%d), 'hex')" % body))


@with_store
def test_lines_of_all_kinds(store):
    """As Python encodes them, whatever their length and ends, and padding."""
    for line in (4, 64, 76, 996):
        for size in (1, 2, 3, 56, 57, 58, 747 * 3 - 1, 747 * 3, 5000):
            for end in (1, 2):
                eq(bytes.fromhex(store.admin.value("SELECT encode(pgbox.body_bytes(%s, '{1,%d,%d,%d}'), 'hex')" % (
                    literal(b"<" + BYTES[:size] + b">", "bytea"), size, line, end))),
                   b"<" + encoded(BYTES[:size], line, b"\n" if end == 1 else b"\r\n") + b">", "%d, %d, %d" % (line, size, end))


@with_store
def test_bodies_are_verified(store):
    first, second = encoded(BYTES, 76, b"\r\n"), encoded(BYTES[:3000], 64, b"\n")
    whole = b"seven\r\n" + first + b"\r\nand\r\n" + second + b"\nend"
    stored = b"seven\r\n" + BYTES + b"\r\nand\r\n" + BYTES[:3000] + b"\nend"
    runs = [7, 5000, 76, 2, 7 + 5000 + 7, 3000, 64, 1]
    small = put(store, whole, stored, runs)
    filler = b"x" * (CHUNK - 100) + first[:100]
    large = put(store, filler + first[100:], filler, None,
                (first[100:156] + BYTES[114:], [56, len(BYTES) - 114, 76, 2]))
    for body, original in ((small, whole), (large, filler + first[100:])):
        eq(read(store, body), original)
        eq(store.admin.value("SELECT pgbox.body_problem(%d) IS NULL" % body), "t")
    eq(store.admin.value("SELECT count(*) FROM pgbox.invariant_violations WHERE relation = 'body'"), "0")
    # what is damaged is found
    for body, change, said in (
            (small, "body SET head = set_byte(head, 700, get_byte(head, 700) # 1)", "is not what its SHA-256 says"),
            (small, "body SET base64[4] = 1", "bytes, and should have"),
            (small, "body SET base64[2] = 6000", "can't be read: base64 doesn't fit"),
            (small, "body SET base64 = NULL", "bytes, and should have"),
            (large, "body_chunk SET base64[1] = 57", "can't be read: base64 doesn't fit"),
            (large, "body_chunk SET base64[3] = 72", "bytes, and should have")):
        store.admin.sql("BEGIN; SET LOCAL session_replication_role = replica;"
                        "ALTER TABLE pgbox.body DROP CONSTRAINT body_size_check;"
                        "ALTER TABLE pgbox.body_chunk DROP CONSTRAINT body_chunk_base64_check;"
                        "UPDATE pgbox.%s WHERE body_id = %d" % (change, body))
        has(said, store.admin.value("SELECT wrong ->> '%d' FROM pgbox.content_verify(%d, 1)" % (body, body - 1)), change)
        if body == large:
            eq(store.admin.value("SELECT ids ->> 'body_id' FROM pgbox.invariant_violations WHERE rule = 'a body has all its bytes'"),
               str(body), change)
        store.admin.sql("ROLLBACK")
    eq(store.admin.value("SELECT wrong FROM pgbox.content_verify(%d, 100)" % (small - 1)), "{}")


@with_store
def test_runs_are_checked(store):
    """Those that can't be of the bytes stored, or make another size of them."""
    whole, stored = encoded(BYTES, 76, b"\n"), BYTES
    for runs in ([0, 5000, 76, 2], [0, 5000, 72, 1]):
        refused("23514", put, store, whole, stored, runs)
    for runs in ([], [0, 5000, 76], [0, 5000, 76, 1, 0], [0, 5000, 75, 1], [0, 5000, 0, 1],
                 [0, 5000, 1000, 1], [0, 5001, 76, 1], [-1, 5000, 76, 1], [1, 5000, 76, 1], [0, 5000, 76, 0], [0, 0, 76, 1],
                 [0, 2147483647, 76, 1], [2147483647, 1, 76, 1], [0, 2000, 76, 1, 1999, 3001, 76, 1], [0, "NULL", 76, 1]):
        refused("23514", put, store, whole, stored, runs)
        refused("23514", put, store, b"x" * CHUNK + whole, b"x" * CHUNK, None, (stored, runs))
    refused("23514", put, store, whole, stored, None)
    refused("23514", store.db.sql, "SELECT pgbox.content_put('', true, sha256('x'), 5, '12345', 5, 5, NULL, NULL, '{{0,5,76,1}}')")
    eq(read(store, put(store, whole, stored, [0, 5000, 76, 1])), whole)


@with_store
def test_as_it_is_for_nodes_of_version_1(store):
    """They read head and data as they are."""
    whole = encoded(BYTES[::-1], 76, b"\r\n")
    filler = b"y" * CHUNK
    store.admin.sql("UPDATE pgbox.store SET base64_decoded = false")
    try:
        bodies = [put(store, whole, BYTES[::-1], [0, 5000, 76, 2]),
                  put(store, filler + whole, filler, None, (BYTES[::-1], [0, 5000, 76, 2]))]
    finally:
        store.admin.sql("UPDATE pgbox.store SET base64_decoded = true")
    eq(store.admin.sql("SELECT count(*) FROM pgbox.body WHERE body_id IN (%d, %d) AND base64 IS NULL" % tuple(bodies)), [["2"]])
    eq(bytes.fromhex(store.admin.value("SELECT encode(b.head, 'hex') FROM pgbox.body AS b WHERE b.body_id = %d" % bodies[0])), whole)
    eq(store.admin.sql("SELECT octet_length(k.data), k.base64 IS NULL FROM pgbox.body_chunk AS k WHERE k.body_id = %d" % bodies[1]),
       [[str(len(whole)), "t"]])
    for body in bodies:
        eq(store.admin.value("SELECT pgbox.body_problem(%d) IS NULL" % body), "t")
