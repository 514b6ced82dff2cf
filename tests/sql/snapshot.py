"""All that the catalogs say about the schema, as a dictionary: two databases are
alike when theirs are equal. Nothing in it depends on OIDs or on the order in which
things were made, but for the order of columns."""

import os

import proc
from cluster import bindir

# Rows of an access control list, in an order of its own; NULL is what the owner has.
ACL = ("(SELECT string_agg(CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END || ' ' || a.privilege_type"
       " || CASE WHEN a.is_grantable THEN ' with grant option' ELSE '' END || ' by ' || a.grantor::regrole, ', '"
       " ORDER BY a.grantee::regrole::text, a.privilege_type, a.grantor::regrole::text)"
       " FROM aclexplode(%s) AS a)")

# Each returns a kind, a name, and facts. The schema is on no search path, so that
# all names come out qualified.
QUERIES = (
    # what belongs to the schema, of whatever kind: a kind that is new here is seen at least
    """SELECT 'object', pg_describe_object(d.classid, d.objid, d.objsubid), NULL::text
         FROM pg_depend AS d
        WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = 'pgbox'::regnamespace""",
    """SELECT 'schema', n.nspname, concat_ws('; ', n.nspowner::regrole, """ + ACL % "COALESCE(n.nspacl, acldefault('n', n.nspowner))" + """,
              obj_description(n.oid, 'pg_namespace'))
         FROM pg_namespace AS n WHERE n.nspname = 'pgbox'""",
    """SELECT 'relation', c.oid::regclass::text,
              concat_ws('; ', c.relkind, c.relowner::regrole, c.relpersistence, c.reloptions::text, t.reloptions::text,
                        c.relreplident, c.relrowsecurity, c.relforcerowsecurity, c.reltablespace, m.amname, c.relispartition,
                        """ + ACL % "COALESCE(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::\"char\", c.relowner))" + """,
                        obj_description(c.oid, 'pg_class'))
         FROM pg_class AS c LEFT JOIN pg_class AS t ON t.oid = c.reltoastrelid LEFT JOIN pg_am AS m ON m.oid = c.relam
        WHERE c.relnamespace = 'pgbox'::regnamespace""",
    """SELECT 'column', c.oid::regclass || '.' || a.attname,
              concat_ws('; ', (SELECT count(*) FROM pg_attribute AS b WHERE b.attrelid = c.oid AND b.attnum BETWEEN 1 AND a.attnum
                                 AND NOT b.attisdropped),
                        format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN 'not null' END,
                        'default ' || pg_get_expr(f.adbin, f.adrelid), 'identity ' || NULLIF(a.attidentity, '')::text,
                        'generated ' || NULLIF(a.attgenerated, '')::text, 'collate ' || NULLIF(a.attcollation, 0)::regcollation,
                        'storage ' || a.attstorage::text, 'compression ' || NULLIF(a.attcompression, '')::text, a.attoptions::text,
                        'statistics ' || a.attstattarget, """ + ACL % "a.attacl" + """, col_description(c.oid, a.attnum))
         FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
         LEFT JOIN pg_attrdef AS f ON f.adrelid = c.oid AND f.adnum = a.attnum
        WHERE c.relnamespace = 'pgbox'::regnamespace AND c.relkind IN ('r', 'v', 'm', 'p', 'f', 'c')""",
    """SELECT 'constraint', k.conrelid::regclass || '.' || k.conname,
              concat_ws('; ', pg_get_constraintdef(k.oid), CASE WHEN NOT k.convalidated THEN 'not validated' END,
                        k.condeferrable, k.condeferred, k.conislocal, k.connoinherit, NULLIF(k.conindid, 0)::regclass,
                        obj_description(k.oid, 'pg_constraint'))
         FROM pg_constraint AS k WHERE k.connamespace = 'pgbox'::regnamespace""",
    """SELECT 'index', i.indexrelid::regclass::text,
              concat_ws('; ', pg_get_indexdef(i.indexrelid), i.indisvalid, i.indisready, i.indislive, i.indisclustered,
                        i.indisreplident, i.indimmediate,
                        (SELECT string_agg(a.attname || ' ' || a.attstattarget, ',' ORDER BY a.attnum)
                           FROM pg_attribute AS a WHERE a.attrelid = i.indexrelid AND a.attstattarget <> -1))
         FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid WHERE c.relnamespace = 'pgbox'::regnamespace""",
    """SELECT 'trigger', t.tgrelid::regclass || '.' || t.tgname,
              concat_ws('; ', pg_get_triggerdef(t.oid), t.tgenabled, obj_description(t.oid, 'pg_trigger'))
         FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
        WHERE c.relnamespace = 'pgbox'::regnamespace AND NOT t.tgisinternal""",
    # triggers of foreign keys have a number in their name
    """SELECT 'trigger of', k.conname || ' ' || t.tgtype || ' ' || t.tgrelid::regclass, t.tgenabled::text
         FROM pg_trigger AS t JOIN pg_constraint AS k ON k.oid = t.tgconstraint
        WHERE k.connamespace = 'pgbox'::regnamespace AND t.tgisinternal""",
    """SELECT 'function', p.oid::regprocedure::text,
              concat_ws('; ', pg_get_functiondef(p.oid), p.proowner::regrole,
                        """ + ACL % "COALESCE(p.proacl, acldefault('f', p.proowner))" + """, obj_description(p.oid, 'pg_proc'))
         FROM pg_proc AS p WHERE p.pronamespace = 'pgbox'::regnamespace AND p.prokind IN ('f', 'p', 'w')""",
    """SELECT 'rule', w.ev_class::regclass || '.' || w.rulename,
              concat_ws('; ', pg_get_ruledef(w.oid), w.ev_enabled, obj_description(w.oid, 'pg_rewrite'))
         FROM pg_rewrite AS w JOIN pg_class AS c ON c.oid = w.ev_class WHERE c.relnamespace = 'pgbox'::regnamespace""",
    """SELECT 'sequence', s.seqrelid::regclass::text,
              concat_ws('; ', s.seqtypid::regtype, s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcache, s.seqcycle,
                        d.deptype::text || ' ' || pg_describe_object(d.refclassid, d.refobjid, d.refobjsubid))
         FROM pg_sequence AS s JOIN pg_class AS c ON c.oid = s.seqrelid
         LEFT JOIN pg_depend AS d ON d.classid = 'pg_class'::regclass AND d.objid = s.seqrelid AND d.deptype IN ('a', 'i')
        WHERE c.relnamespace = 'pgbox'::regnamespace""",
    """SELECT 'type', t.oid::regtype::text, concat_ws('; ', t.typtype, t.typowner::regrole, t.typacl::text, obj_description(t.oid, 'pg_type'))
         FROM pg_type AS t WHERE t.typnamespace = 'pgbox'::regnamespace AND t.typtype <> 'b'""",
    """SELECT 'policy', p.polrelid::regclass || '.' || p.polname, concat_ws('; ', p.polcmd, p.polpermissive, p.polroles::regrole[],
              pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
         FROM pg_policy AS p JOIN pg_class AS c ON c.oid = p.polrelid WHERE c.relnamespace = 'pgbox'::regnamespace""",
    """SELECT 'default privileges', d.defaclrole::regrole || ' ' || d.defaclobjtype::text, """ + ACL % "d.defaclacl" + """
         FROM pg_default_acl AS d WHERE d.defaclrole = 'pgbox_owner'::regrole OR d.defaclnamespace = 'pgbox'::regnamespace""",
    """SELECT 'event trigger', e.evtname, e.evtevent FROM pg_event_trigger AS e""",
)
# The server's, not a database's.
ROLE_QUERIES = (
    """SELECT 'role', r.rolname, concat_ws('; ', r.rolsuper, r.rolinherit, r.rolcreaterole, r.rolcreatedb, r.rolcanlogin,
              r.rolreplication, r.rolbypassrls, r.rolconnlimit, r.rolvaliduntil)
         FROM pg_roles AS r WHERE r.rolname LIKE 'pgbox\\_%'""",
    """SELECT 'setting of role', r.rolname || ' ' || split_part(c.setting, '=', 1), split_part(c.setting, '=', 2)
         FROM pg_db_role_setting AS s JOIN pg_roles AS r ON r.oid = s.setrole CROSS JOIN unnest(s.setconfig) AS c (setting)
        WHERE r.rolname LIKE 'pgbox\\_%' AND s.setdatabase = 0""",
    """SELECT 'member', m.roleid::regrole || ' ' || m.member::regrole, m.admin_option::text
         FROM pg_auth_members AS m WHERE m.member::regrole::text LIKE 'pgbox\\_%'""",
    """SELECT 'database', 'acl', """ + ACL % "COALESCE(d.datacl, acldefault('d', d.datdba))" + """ FROM pg_database AS d WHERE d.datname = current_database()""",
)


def sql(queries):
    """One statement of all queries; a row is one line."""
    return " UNION ALL ".join("SELECT q.kind::text, q.name::text, replace(q.facts::text, chr(10), '\\n') FROM (%s) AS q (kind, name, facts)" % query
                              for query in queries)


def read(run, queries=QUERIES):
    """{"kind name": facts}; run(sql) returns rows as lists of str."""
    return {"%s %s" % (kind, name): facts for kind, name, facts in run(sql(queries))}


def different(one, other):
    """Names of what one has and the other lacks, or has otherwise, and vice versa."""
    return sorted(name for name in set(one) | set(other) if one.get(name) != other.get(name))


def explained(one, other):
    """The same with what both say."""
    return "\n".join("%s\n     here: %s\n    there: %s" % (name, one.get(name), other.get(name)) for name in different(one, other))


def dumped(cluster, dbname):
    """Lines of pg_dump --schema-only, in alphabetical order: those of grants come
    in the order in which they were given."""
    text = proc.run([os.path.join(bindir(), "pg_dump"), "--schema-only", "--schema=pgbox", cluster.uri(dbname=dbname)]).stdout.decode()
    return sorted(line for line in text.splitlines() if not line.startswith(("\\restrict", "\\unrestrict")))
