-- The plugin's role: what would let a lost node hold locks for ever, or make
-- the functions work on stale snapshots?
SELECT 'role pgbox_dovecot has no ' || w.name || ': run pgbox-schema upgrade, or set it'
  FROM (VALUES ('statement_timeout'), ('lock_timeout'), ('idle_in_transaction_session_timeout'),
               ('default_transaction_isolation'), ('plan_cache_mode')) AS w (name)
 WHERE NOT EXISTS (SELECT 1 FROM pg_catalog.pg_roles AS r, pg_catalog.unnest(r.rolconfig) AS c (setting)
                    WHERE r.rolname = 'pgbox_dovecot' AND pg_catalog.split_part(c.setting, '=', 1) = w.name)
UNION ALL
SELECT 'role pgbox_dovecot is a superuser or owns the schema: it needs neither'
  FROM pg_catalog.pg_roles AS r
 WHERE r.rolname = 'pgbox_dovecot'
   AND (r.rolsuper OR pg_catalog.pg_has_role('pgbox_dovecot', 'pgbox_owner', 'MEMBER'));
