-- uids NULL: all that were expunged since a time, in seconds, and not moved.
-- in: account text, folder text, uids bigint[], since bigint, into text, limit integer
-- out: uid bigint, new_uid bigint
-- locks: the counters of the mailbox they come into
SELECT u.uid, u.new_uid
  FROM pgbox.message_undelete($1, $2, $3, pg_catalog.to_timestamp($4), $5, $6) AS u
