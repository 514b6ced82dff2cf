-- in: mailbox bigint, since bigint, keywords integer
-- out: kind smallint, uid bigint, modseq bigint, flags smallint, keywords smallint[], info bigint[], keyword text
-- locks: none
SELECT p.kind, p.uid, p.modseq, p.flags, p.keywords, p.info, p.keyword
  FROM pgbox.mailbox_pull($1, $2, $3) AS p
