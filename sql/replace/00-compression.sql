-- lz4 costs half of pglz's CPU, but a server may be built without it. Run at
-- each upgrade: a server that learnt it since gets it then.

DO $$
DECLARE
  v_column record;
BEGIN
  IF NOT EXISTS (SELECT 1 FROM pg_catalog.pg_settings AS s
                  WHERE s.name = 'default_toast_compression' AND 'lz4' = ANY (s.enumvals)) THEN
    RAISE WARNING 'this server is built without lz4: mail is compressed by the slower pglz';
    RETURN;
  END IF;
  FOR v_column IN
    SELECT a.attrelid::regclass AS relation, a.attname AS name
      FROM pg_catalog.pg_attribute AS a
     WHERE (a.attrelid, a.attname) IN (('pgbox.body'::regclass, 'head'), ('pgbox.body_chunk'::regclass, 'data'),
                                       ('pgbox.content'::regclass, 'header'), ('pgbox.content'::regclass, 'envelope'),
                                       ('pgbox.content'::regclass, 'bodystructure'))
       AND a.attcompression <> 'l'
  LOOP
    EXECUTE pg_catalog.format('ALTER TABLE %s ALTER COLUMN %I SET COMPRESSION lz4', v_column.relation, v_column.name);
  END LOOP;
END
$$;
