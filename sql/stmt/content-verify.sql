-- One step; a row for each body that is wrong, one row if none is. next_after is
-- NULL in the last step.
-- in: after bigint, limit integer, percent integer, account text
-- out: next_after bigint, problem text, remedy text, checked bigint
SELECT v.next_after, 'body ' || w.key || ' ' || w.value, 'restore it from a backup', v.checked
  FROM pgbox.content_verify($1, $2, $3, $4) AS v
  LEFT JOIN LATERAL pg_catalog.jsonb_each_text(v.wrong) AS w ON true
