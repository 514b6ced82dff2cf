-- in: account text
-- out: problem text, remedy text
SELECT w.value ->> 'problem', w.value ->> 'remedy'
  FROM pgbox.account_verify($1) AS v
 CROSS JOIN LATERAL pg_catalog.jsonb_array_elements(v.wrong) AS w
