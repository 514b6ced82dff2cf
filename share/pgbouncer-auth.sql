-- The role and the function that PgBouncer's auth_query needs (pgbouncer.ini), in
-- pgbox's database. As a superuser:
--
--     psql -d mail -f pgbouncer-auth.sql
--     psql -d mail -c '\password pgbouncer'
--
-- and the password that is asked for goes, in double quotes after "pgbouncer",
-- into userlist.txt.

CREATE ROLE pgbouncer LOGIN;
CREATE SCHEMA pgbouncer;
GRANT USAGE ON SCHEMA pgbouncer TO pgbouncer;

-- The plugin's role and no other: nobody else has business behind this pooler.
CREATE FUNCTION pgbouncer.user_lookup(p_name text)
RETURNS TABLE (name text, secret text)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT a.rolname::text, a.rolpassword
    FROM pg_authid AS a
   WHERE a.rolname = p_name AND a.rolname = 'pgbox_dovecot' AND a.rolcanlogin
     AND (a.rolvaliduntil IS NULL OR a.rolvaliduntil > now())
$$;
COMMENT ON FUNCTION pgbouncer.user_lookup(text) IS 'For PgBouncer: the secret that a role logs in with';
REVOKE ALL ON FUNCTION pgbouncer.user_lookup(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgbouncer.user_lookup(text) TO pgbouncer;
