-- in: mailbox bigint, unchangedsince bigint, uids bigint[], ops integer[], add smallint[], remove smallint[]
-- in: keywords_add text[], keywords_remove text[], keywords_replace boolean[]
-- out: kind smallint, uid bigint, modseq bigint, flags smallint, keywords smallint[]
-- locks: the mailbox's counters
SELECT s.kind, s.uid, s.modseq, s.flags, s.keywords
  FROM pgbox.message_store($1, $2, $3, $4, $5, $6, $7, $8, $9) AS s
