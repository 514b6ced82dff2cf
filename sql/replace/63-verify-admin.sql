-- Is what is stored what was sent?

-- One body at a time is in memory as a whole.
CREATE OR REPLACE FUNCTION pgbox.body_problem(p_body bigint)
RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_digest bytea;
  v_size bigint;
  v_bytes bytea;
BEGIN
  SELECT b.digest, b.size, pgbox.body_read(b.body_id)
    INTO v_digest, v_size, v_bytes
    FROM pgbox.body AS b
   WHERE b.body_id = p_body;
  IF octet_length(v_bytes) <> v_size THEN
    RETURN format('has %s bytes, and should have %s', octet_length(v_bytes), v_size);
  ELSIF sha256(v_bytes) <> v_digest THEN
    RETURN 'is not what its SHA-256 says';
  ELSIF EXISTS (SELECT 1 FROM pgbox.content AS c
                 WHERE c.body_id = p_body AND c.header_complete AND c.size <> octet_length(c.header) + v_size) THEN
    RETURN 'does not fit the size of a content that refers to it';
  END IF;
  RETURN NULL;
EXCEPTION WHEN data_corrupted OR index_corrupted OR internal_error THEN
  -- what PostgreSQL says of damaged TOAST data
  RETURN 'can''t be read: ' || SQLERRM;
END
$$;
COMMENT ON FUNCTION pgbox.body_problem(bigint) IS 'What is wrong with a body; NULL: nothing';

CREATE OR REPLACE FUNCTION pgbox.bodies_after(p_after bigint, p_limit integer, p_account text)
RETURNS TABLE (body_id bigint)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF p_account IS NULL THEN
    RETURN QUERY
    SELECT b.body_id FROM pgbox.body AS b WHERE b.body_id > p_after ORDER BY b.body_id LIMIT p_limit;
  ELSE
    RETURN QUERY
    SELECT DISTINCT c.body_id
      FROM pgbox.mailbox AS m
      JOIN pgbox.message AS g ON g.mailbox_id = m.mailbox_id
      JOIN pgbox.content AS c ON c.content_id = g.content_id
     WHERE m.account_id = pgbox.account_find(p_account) AND c.body_id > p_after
     ORDER BY 1
     LIMIT p_limit;
  END IF;
END
$$;
COMMENT ON FUNCTION pgbox.bodies_after(bigint, integer, text) IS 'The next body_ids after one, of all bodies or of an account''s messages, ascending';

CREATE OR REPLACE FUNCTION pgbox.content_verify(
  p_after bigint DEFAULT 0, p_limit integer DEFAULT 1000, p_percent numeric DEFAULT 100, p_account text DEFAULT NULL)
RETURNS TABLE (checked bigint, next_after bigint, wrong jsonb)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_body bigint;
  v_seen integer := 0;
  v_problem text;
BEGIN
  PERFORM pgbox.limit_check(p_limit);
  IF p_percent IS NULL OR NOT p_percent BETWEEN 0 AND 100 THEN
    RAISE EXCEPTION 'p_percent can''t be %: it is 0 to 100', COALESCE(p_percent::text, 'NULL') USING ERRCODE = '22023';
  END IF;
  checked := 0;
  wrong := '{}';
  FOR v_body IN SELECT b.body_id FROM pgbox.bodies_after(p_after, p_limit, p_account) AS b LOOP
    v_seen := v_seen + 1;
    next_after := v_body;
    CONTINUE WHEN random() * 100 >= p_percent;
    checked := checked + 1;
    v_problem := pgbox.body_problem(v_body);
    IF v_problem IS NOT NULL THEN
      wrong := wrong || jsonb_build_object(v_body::text, v_problem);
    END IF;
  END LOOP;
  IF v_seen < p_limit THEN
    next_after := NULL;
  END IF;
  IF wrong <> '{}' THEN
    PERFORM pgbox.job_record('content_verify', 'bodies after ' || p_after, jsonb_build_object('checked', checked, 'wrong', wrong),
                             CASE WHEN next_after IS NULL THEN 'done' ELSE 'more' END);
  END IF;
  RETURN NEXT;
END
$$;
COMMENT ON FUNCTION pgbox.content_verify(bigint, integer, numeric, text) IS 'Compare bodies with their digests and sizes: of p_limit bodies after a body_id, of all or of one account''s messages, so many percent, chosen at random. Go on with next_after until that is NULL. wrong: body_id and what is wrong';
