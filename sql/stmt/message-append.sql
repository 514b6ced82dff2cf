-- in: mailbox bigint, token uuid, reason text, min_modseq bigint, uids bigint[], guids uuid[], contents bigint[]
-- in: source_mailboxes bigint[], source_uids bigint[], moves boolean[], received bigint[], saved bigint[]
-- in: flags smallint[], keywords text[], pop3_uidls text[], pop3_orders bigint[]
-- out: prev_modseq bigint, modseq bigint, uids bigint[], differ boolean
-- locks: the counters of the mailbox and of those that messages are moved from
SELECT a.prev_modseq, a.modseq, a.uids, a.differ
  FROM pgbox.message_append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) AS a
