-- The record: who had what done. Tombstones and deleted mailboxes have a reason,
-- administrators' functions and what is set by plain DML a row of job, and so have
-- folders that are renamed or deleted, whoever does it.

-- Our functions run as their owner, so current_user tells nothing there: the role
-- that SET ROLE chose is asked for by name.
CREATE OR REPLACE FUNCTION pgbox.done_by()
RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT session_user || CASE WHEN current_setting('role') IN ('none', session_user) THEN '' ELSE ' as ' || current_setting('role') END $$;
COMMENT ON FUNCTION pgbox.done_by() IS 'The role that is logged in, and the one that it has SET ROLE to';

CREATE OR REPLACE FUNCTION pgbox.who()
RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT 'SQL by ' || pgbox.done_by() $$;
COMMENT ON FUNCTION pgbox.who() IS 'The reason that tombstones and deleted mailboxes of administrators give, whether they call functions or use plain DML';

CREATE OR REPLACE FUNCTION pgbox.job_record(p_what text, p_target text, p_counts jsonb, p_outcome text, p_reason text DEFAULT NULL)
RETURNS void
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
  INSERT INTO pgbox.job (what, target, done_by, counts, outcome)
  VALUES (p_what, p_target, concat_ws(': ', pgbox.done_by(), p_reason), p_counts, p_outcome)
$$;
COMMENT ON FUNCTION pgbox.job_record(text, text, jsonb, text, text) IS 'Write down what was done, in its transaction. p_reason: what the role says of itself, as the plugin does';

CREATE OR REPLACE FUNCTION pgbox.job_record_folder(p_what text, p_account bigint, p_folder text, p_counts jsonb, p_reason text DEFAULT NULL)
RETURNS void
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT pgbox.job_record(p_what, a.name || ': ' || p_folder, p_counts, 'done', p_reason)
    FROM pgbox.account AS a
   WHERE a.account_id = p_account
$$;
COMMENT ON FUNCTION pgbox.job_record_folder(text, bigint, text, jsonb, text) IS 'job_record for a mailbox, or a node, of an account';
