"""What must be true of every object of the schema."""

from sqllib import with_store
from tap import eq, true


def rows(store, sql):
    """First column of a query."""
    return [row[0] for row in store.admin.sql(sql)]


@with_store
def test_everything_has_a_comment(store):
    eq(rows(store, """
        SELECT c.relkind::text || ' ' || c.relname FROM pg_class c
         WHERE c.relnamespace = 'pgbox'::regnamespace AND obj_description(c.oid, 'pg_class') IS NULL
           AND NOT (c.relkind = 'i' AND EXISTS (SELECT 1 FROM pg_constraint k WHERE k.conindid = c.oid))
           AND NOT (c.relkind = 'S' AND EXISTS (SELECT 1 FROM pg_depend d
                                                 WHERE d.objid = c.oid AND d.deptype = 'i'))
         UNION ALL
        SELECT c.relname || '.' || a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
         WHERE c.relnamespace = 'pgbox'::regnamespace AND c.relkind IN ('r', 'v') AND a.attnum > 0
           AND NOT a.attisdropped AND col_description(c.oid, a.attnum) IS NULL
         UNION ALL
        SELECT p.oid::regprocedure::text FROM pg_proc p
         WHERE p.pronamespace = 'pgbox'::regnamespace AND obj_description(p.oid, 'pg_proc') IS NULL"""), [])


@with_store
def test_every_constraint_is_named_by_the_rule(store):
    """table_columns_kind; a check may be about something else than a column."""
    eq(rows(store, """
        SELECT k.conname FROM pg_constraint k
          JOIN pg_class c ON c.oid = k.conrelid
         WHERE k.connamespace = 'pgbox'::regnamespace
           AND NOT k.conname = ANY (SELECT c.relname || n.columns || s.suffix
                 FROM (VALUES ('p', '_pkey'), ('f', '_fkey'), ('u', '_key')) s (contype, suffix),
                      (SELECT '' UNION ALL
                       SELECT string_agg('_' || a.attname, '' ORDER BY o.ord)
                         FROM unnest(k.conkey) WITH ORDINALITY o (attnum, ord)
                         JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = o.attnum) n (columns)
                WHERE s.contype = k.contype)
           AND NOT (k.contype = 'c' AND k.conname LIKE c.relname || '\\_%\\_check')"""), [])


@with_store
def test_functions_pin_their_search_path(store):
    """Except the two that are inlined or pure, which name what they use."""
    eq(rows(store, """
        SELECT p.proname FROM pg_proc p
         WHERE p.pronamespace = 'pgbox'::regnamespace
           AND NOT 'search_path=pg_catalog, pg_temp' = ANY (COALESCE(p.proconfig, '{}'))
         ORDER BY 1"""), ["keywords_change", "modseq_step"])


@with_store
def test_foreign_keys_have_an_index(store):
    """Else deleting the referenced row scans a table."""
    eq(rows(store, """
        SELECT k.conname FROM pg_constraint k
         WHERE k.connamespace = 'pgbox'::regnamespace AND k.contype = 'f'
           AND NOT EXISTS (SELECT 1 FROM pg_index i
                            WHERE i.indrelid = k.conrelid AND i.indpred IS NULL
                              AND (i.indkey::smallint[])[0:cardinality(k.conkey) - 1] = k.conkey)"""), [])


@with_store
def test_text_is_compared_byte_for_byte(store):
    eq(rows(store, """
        SELECT c.relname || '.' || a.attname FROM pg_class c
          JOIN pg_attribute a ON a.attrelid = c.oid
          JOIN pg_index i ON i.indrelid = c.oid AND a.attnum = ANY (i.indkey)
         WHERE c.relnamespace = 'pgbox'::regnamespace AND c.relkind = 'r'
           AND a.atttypid = 'text'::regtype AND a.attcollation <> '"C"'::regcollation"""), [])


@with_store
def test_compression(store):
    columns = rows(store, """
        SELECT c.relname || '.' || a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
         WHERE c.relnamespace = 'pgbox'::regnamespace AND a.attcompression = 'l' ORDER BY 1""")
    true(columns in ([], ["body.head", "body_chunk.data", "content.bodystructure", "content.envelope",
                          "content.header"]), columns)
