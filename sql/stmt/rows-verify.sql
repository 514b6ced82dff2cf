-- One step; a row for each problem, one row if there is none. next_after is NULL
-- in the last step.
-- in: after bigint, limit bigint
-- out: next_after bigint, problem text, remedy text
SELECT v.next_after, w.value ->> 'problem', w.value ->> 'remedy'
  FROM pgbox.rows_verify($1, $2) AS v
  LEFT JOIN LATERAL pg_catalog.jsonb_array_elements(v.wrong) AS w ON true
