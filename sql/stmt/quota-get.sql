-- What counts for the quota of an account, and its limits (NULL: none). No row:
-- there is no such account.
-- in: account text
-- out: messages bigint, bytes bigint, limited boolean, message_limit bigint, byte_limit bigint
-- locks: none
SELECT u.messages, u.bytes, q.account_id IS NOT NULL AS limited,
       q.messages AS message_limit, q.bytes AS byte_limit
  FROM pgbox.account AS a
  LEFT JOIN pgbox.account_quota AS q ON q.account_id = a.account_id
 CROSS JOIN LATERAL pgbox.quota_usage(a.account_id) AS u
 WHERE a.name = $1
