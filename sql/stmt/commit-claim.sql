-- in: token uuid
-- out: prev_modseq bigint, modseq bigint, uids bigint[]
SELECT c.prev_modseq, c.modseq, c.uids
  FROM pgbox.commit_claim($1) AS c
