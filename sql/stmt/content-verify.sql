-- One step; a row for each body that is wrong, one row if none is. next_after is
-- NULL in the last step.
-- in: after bigint, limit integer, percent integer, account text
-- out: checked bigint, next_after bigint, body_id text, problem text
SELECT v.checked, v.next_after, w.key, w.value
  FROM pgbox.content_verify($1, $2, $3, $4) AS v
  LEFT JOIN LATERAL pg_catalog.jsonb_each_text(v.wrong) AS w ON true
