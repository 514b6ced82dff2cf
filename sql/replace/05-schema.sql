-- The schema's version, as the plugin asks for it.

-- Kept with this meaning for ever: plugins older than the schema call it.
CREATE OR REPLACE FUNCTION pgbox.schema_check(p_oldest integer, p_newest integer)
RETURNS SETOF void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_version integer;
BEGIN
  SELECT max(v.version) INTO v_version FROM pgbox.schema_version AS v;
  IF v_version < p_oldest THEN
    RAISE EXCEPTION 'the schema is at version %, this pgbox needs version %', v_version, p_oldest
      USING ERRCODE = 'PB009', HINT = 'Run pgbox-schema upgrade.';
  ELSIF v_version > p_newest THEN
    RAISE EXCEPTION 'the schema is at version %, newer than this pgbox knows: upgrade pgbox on this node', v_version
      USING ERRCODE = 'PB009';
  END IF;
END
$$;
COMMENT ON FUNCTION pgbox.schema_check(integer, integer) IS 'Fails unless the schema''s version is one of these; no rows';
