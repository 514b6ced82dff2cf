-- in: mailbox bigint, uids bigint[], reason text
-- out: prev_modseq bigint, modseq bigint
-- locks: the mailbox's counters
SELECT e.prev_modseq, e.modseq
  FROM pgbox.message_expunge($1, $2, $3) AS e
