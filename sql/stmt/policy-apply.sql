-- in: limit bigint
-- out: expunged bigint, busy bigint, more boolean
-- locks: counters of mailboxes that nobody else has locked
SELECT p.expunged, p.busy, p.more
  FROM pgbox.policy_apply($1) AS p
