-- The messages among uids, in order of UID, as far as their bytes stay
-- within the limit (one at least). Header, start of the body, BODYSTRUCTURE and
-- ENVELOPE only where asked for; header_size is -1 if the header isn't kept apart.
-- With the mailbox's GUID: only if it is that one. So a replica that belongs to
-- another store, by a mistake in a setting, shows nobody the mail of others.
-- in: mailbox bigint, uids bigint[], want_header boolean, want_body boolean, want_structure boolean, want_envelope boolean, limit_bytes bigint
-- in: mailbox_guid uuid
-- out: uid bigint, guid uuid, received bigint, saved bigint, size bigint, virtual_size bigint, header_size bigint
-- out: header bytea, digest bytea, body_size bigint, head bytea, bodystructure bytea
-- out: content_id bigint, pop3_uidl text, pop3_order bigint, envelope bytea, base64 integer[]
-- locks: none   plan: message_pkey
SELECT f.uid, f.guid, f.received, f.saved, f.size, f.virtual_size, f.header_size,
       CASE WHEN $3 THEN f.header END,
       f.digest, f.body_size,
       CASE WHEN $4 THEN f.head END,
       CASE WHEN $5 THEN f.bodystructure END,
       f.content_id, f.pop3_uidl, f.pop3_order,
       CASE WHEN $6 THEN f.envelope END,
       CASE WHEN $4 THEN f.base64 END
  FROM (SELECT g.uid, g.guid,
               extract(epoch FROM g.received_at)::bigint AS received,
               extract(epoch FROM g.saved_at)::bigint AS saved,
               c.size, c.virtual_size,
               CASE WHEN c.header_complete THEN octet_length(c.header) ELSE -1 END::bigint AS header_size,
               c.header, b.digest, b.size AS body_size, b.head, b.base64, c.bodystructure, c.envelope,
               g.content_id, g.pop3_uidl, g.pop3_order,
               sum(CASE WHEN $4 THEN LEAST(c.size, 131072)::integer WHEN $3 THEN octet_length(c.header) ELSE 0 END
                   + CASE WHEN $5 THEN COALESCE(octet_length(c.bodystructure), 0) ELSE 0 END
                   + CASE WHEN $6 THEN COALESCE(octet_length(c.envelope), 0) ELSE 0 END)
                 OVER (ORDER BY g.uid ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
          FROM pgbox.message AS g
          JOIN pgbox.content AS c ON c.content_id = g.content_id
          LEFT JOIN pgbox.body AS b ON b.body_id = c.body_id
         WHERE g.mailbox_id = $1 AND g.uid = ANY ($2)
           AND ($8 IS NULL OR EXISTS (SELECT 1 FROM pgbox.mailbox AS m WHERE m.mailbox_id = $1 AND m.guid = $8))) AS f
 WHERE COALESCE(f.bytes_before, 0) <= $7
 ORDER BY f.uid
