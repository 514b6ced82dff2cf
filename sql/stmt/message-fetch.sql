-- The messages whose UIDs are in the ranges first to last, in order of UID, as far
-- as their bytes stay within the limit (one at least). Header, start of the body, BODYSTRUCTURE and
-- ENVELOPE only where asked for; header_size is -1 if the header isn't kept apart.
-- With the mailbox's GUID: only if it is that one. So a replica that belongs to
-- another store, by a mistake in a setting, shows nobody the mail of others.
-- OFFSET 0 has what isn't asked for left out below the sort and the window, which
-- copy rows. A body isn't looked for without need: no digest and no size then.
-- in: mailbox bigint, first bigint[], last bigint[], want_header boolean, want_body boolean, want_structure boolean, want_envelope boolean, limit_bytes bigint
-- in: mailbox_guid uuid
-- out: uid bigint, guid uuid, received bigint, saved bigint, size bigint, virtual_size bigint, header_size bigint
-- out: header bytea, digest bytea, body_size bigint, head bytea, bodystructure bytea
-- out: content_id bigint, pop3_uidl text, pop3_order bigint, envelope bytea, base64 integer[]
-- locks: none   plan: message_pkey
SELECT f.uid, f.guid, f.received, f.saved, f.size, f.virtual_size, f.header_size,
       f.header, f.digest, f.body_size, f.head, f.bodystructure,
       f.content_id, f.pop3_uidl, f.pop3_order, f.envelope, f.base64
  FROM (SELECT w.*,
               sum(w.bytes) OVER (ORDER BY w.uid ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
          FROM unnest($2, $3) AS r (first, last)
         CROSS JOIN LATERAL (
                SELECT g.uid, g.guid,
                       extract(epoch FROM g.received_at)::bigint AS received,
                       extract(epoch FROM g.saved_at)::bigint AS saved,
                       c.size, c.virtual_size,
                       CASE WHEN c.header_complete THEN octet_length(c.header) ELSE -1 END::bigint AS header_size,
                       CASE WHEN $4 THEN c.header END AS header,
                       b.digest, b.size AS body_size, b.head, b.base64,
                       CASE WHEN $6 THEN c.bodystructure END AS bodystructure,
                       CASE WHEN $7 THEN c.envelope END AS envelope,
                       g.content_id, g.pop3_uidl, g.pop3_order,
                       CASE WHEN $5 THEN LEAST(c.size, 131072)::integer WHEN $4 THEN octet_length(c.header) ELSE 0 END
                         + CASE WHEN $6 THEN COALESCE(octet_length(c.bodystructure), 0) ELSE 0 END
                         + CASE WHEN $7 THEN COALESCE(octet_length(c.envelope), 0) ELSE 0 END AS bytes
                  FROM pgbox.message AS g
                  JOIN pgbox.content AS c ON c.content_id = g.content_id
                  LEFT JOIN pgbox.body AS b ON b.body_id = CASE WHEN $5 THEN c.body_id END
                 WHERE g.mailbox_id = $1 AND g.uid BETWEEN r.first AND r.last
                   AND ($9 IS NULL OR EXISTS (SELECT 1 FROM pgbox.mailbox AS m WHERE m.mailbox_id = $1 AND m.guid = $9))
                OFFSET 0) AS w) AS f
 WHERE COALESCE(f.bytes_before, 0) <= $8
 ORDER BY f.uid
