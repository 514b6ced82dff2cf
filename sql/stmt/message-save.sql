-- in: mailbox bigint, token uuid, reason text, min_modseq bigint, uid bigint, guid uuid, received bigint, saved bigint
-- in: flags smallint, keywords text, pop3_uidl text, pop3_order bigint, header bytea, header_complete boolean
-- in: digest bytea, body_size bigint, head bytea, size bigint, virtual_size bigint, envelope bytea, bodystructure bytea
-- in: base64 integer[]
-- out: prev_modseq bigint, modseq bigint, uids bigint[]
-- locks: the mailbox's counters
SELECT s.prev_modseq, s.modseq, s.uids
  FROM pgbox.message_save($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12,
                          $13, $14, $15, $16, $17, $18, $19, $20, $21, $22) AS s
