-- in: mailbox bigint, uids bigint[], reason text, if_deleted bigint[]
-- out: prev_modseq bigint, modseq bigint, uids bigint[]
-- locks: the mailbox's counters
SELECT e.prev_modseq, e.modseq, e.uids
  FROM pgbox.message_expunge($1, $2, $3, $4) AS e
