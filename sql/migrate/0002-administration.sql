-- pgbox schema, migration 2: what administrators set (retention, legal holds,
-- quota, policies), and the record of what they had done; what tells that commits
-- were lost; base64 of bodies is stored decoded.
-- locks: account, mailbox, mailbox_counter, expunged, store, body, body_chunk

ALTER TABLE pgbox.account
  ADD COLUMN deleted_at timestamptz,
  ADD COLUMN retention interval,
  ADD COLUMN legal_hold boolean NOT NULL DEFAULT false,
  ADD CONSTRAINT account_retention_check CHECK (retention BETWEEN '0'::interval AND '1000 years'::interval),
  ADD CONSTRAINT account_deleted_at_check CHECK (deleted_at IS NULL OR NOT enabled);
COMMENT ON COLUMN pgbox.account.deleted_at IS 'When its deletion began; account_delete removes the rest';
COMMENT ON COLUMN pgbox.account.retention IS 'How long its expunged messages and deleted mailboxes stay restorable; NULL: as the store says';
COMMENT ON COLUMN pgbox.account.legal_hold IS 'True: no content of this account is ever removed';
-- here and not online, for it is of a new column: it finds no rows, and the
-- checks above look at all of them anyway
CREATE INDEX account_retention_idx ON pgbox.account (retention) WHERE retention IS NOT NULL;
COMMENT ON INDEX pgbox.account_retention_idx IS 'Finds the few accounts with a retention of their own';

ALTER TABLE pgbox.mailbox
  ADD COLUMN legal_hold boolean NOT NULL DEFAULT false,
  ADD COLUMN deleted_reason text,
  -- what was deleted before has no reason
  ADD CONSTRAINT mailbox_deleted_reason_check CHECK (deleted_reason IS NULL OR deleted_at IS NOT NULL);
COMMENT ON COLUMN pgbox.mailbox.legal_hold IS 'True: no content of this mailbox is ever removed';
COMMENT ON COLUMN pgbox.mailbox.deleted_reason IS 'What deleted it: service and client, or "SQL by" and role; NULL: it isn''t deleted, or was when nobody wrote that down';

ALTER TABLE pgbox.expunged
  ADD COLUMN revived_at timestamptz;
COMMENT ON COLUMN pgbox.expunged.revived_at IS 'When it was brought back, as a message with a new UID; NULL: it wasn''t. message_undelete takes it once';

-- a time so long ago that there is none would fail for whoever asks for it
UPDATE pgbox.store SET retention = '1000 years' WHERE retention > '1000 years'::interval;
ALTER TABLE pgbox.store
  ADD COLUMN job_retention interval NOT NULL DEFAULT '1 year',
  ADD CONSTRAINT store_retention_limit_check CHECK (retention <= '1000 years'::interval),
  ADD CONSTRAINT store_job_retention_check CHECK (job_retention BETWEEN '0'::interval AND '1000 years'::interval);
COMMENT ON COLUMN pgbox.store.job_retention IS 'How long rows of job stay; purge removes older ones';

ALTER TABLE pgbox.store
  ADD COLUMN timeline integer,
  ADD COLUMN generation bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN pgbox.store.timeline IS 'PostgreSQL''s timeline on which the counters are good; NULL: that of the first link. On another one they jump before anybody is served';
COMMENT ON COLUMN pgbox.store.generation IS 'When the counters jumped last, in microseconds since 1970; 0: never. Nodes refuse a database with a lower one than they have seen: it was left behind by a failover';

ALTER TABLE pgbox.mailbox_counter
  ADD COLUMN message_floor bigint NOT NULL DEFAULT 0,
  ADD CONSTRAINT mailbox_counter_message_floor_check CHECK (message_floor BETWEEN 0 AND highest_modseq);
COMMENT ON COLUMN pgbox.mailbox_counter.message_floor IS 'The modseq of all messages whose own is lower: that of the last jump of the counters';
COMMENT ON COLUMN pgbox.message_state.modseq IS 'Modseq of the message''s last change; it counts as mailbox_counter.message_floor if it is lower';

CREATE TABLE pgbox.account_quota (
  account_id bigint NOT NULL,
  messages bigint,
  bytes bigint,
  CONSTRAINT account_quota_pkey PRIMARY KEY (account_id),
  CONSTRAINT account_quota_account_id_fkey FOREIGN KEY (account_id) REFERENCES pgbox.account (account_id) ON DELETE CASCADE,
  CONSTRAINT account_quota_messages_check CHECK (messages >= 0),
  CONSTRAINT account_quota_bytes_check CHECK (bytes >= 0)
);
COMMENT ON TABLE pgbox.account_quota IS 'Limits of accounts; no row: none. Who adds messages locks the row after the counters, so that limits hold for all mailboxes together';
COMMENT ON COLUMN pgbox.account_quota.account_id IS 'The account';
COMMENT ON COLUMN pgbox.account_quota.messages IS 'How many messages it may have; NULL: any number';
COMMENT ON COLUMN pgbox.account_quota.bytes IS 'Sum of their virtual sizes; NULL: any';

CREATE TABLE pgbox.policy (
  policy_id bigint GENERATED ALWAYS AS IDENTITY,
  account text COLLATE "C" NOT NULL DEFAULT '%',
  mailbox text COLLATE "C" NOT NULL,
  older_than interval NOT NULL,
  by_received boolean NOT NULL DEFAULT false,
  what text NOT NULL DEFAULT 'all',
  enabled boolean NOT NULL DEFAULT true,
  note text,
  created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
  created_by text NOT NULL,
  CONSTRAINT policy_pkey PRIMARY KEY (policy_id),
  CONSTRAINT policy_names_check CHECK (account <> '' AND mailbox <> ''),
  CONSTRAINT policy_older_than_check CHECK (older_than BETWEEN '1 hour'::interval AND '1000 years'::interval),
  CONSTRAINT policy_what_check CHECK (what IN ('all', 'seen', 'unflagged'))
);
COMMENT ON TABLE pgbox.policy IS 'What policy_apply expunges: messages that are too old, by account and mailbox';
COMMENT ON COLUMN pgbox.policy.policy_id IS 'Identity';
COMMENT ON COLUMN pgbox.policy.account IS 'Accounts it is for: a name, or a pattern as LIKE has them';
COMMENT ON COLUMN pgbox.policy.mailbox IS 'Mailboxes it is for: a full name, or a pattern as LIKE has them';
COMMENT ON COLUMN pgbox.policy.older_than IS 'How old messages become, an hour to 1000 years';
COMMENT ON COLUMN pgbox.policy.by_received IS 'True: by INTERNALDATE; false: by the time since when they are in this mailbox';
COMMENT ON COLUMN pgbox.policy.what IS 'all; seen: those with \Seen; unflagged: those without \Flagged';
COMMENT ON COLUMN pgbox.policy.enabled IS 'False: not applied, and not pending';
COMMENT ON COLUMN pgbox.policy.note IS 'Why it is there';
COMMENT ON COLUMN pgbox.policy.created_at IS 'When it was made';
COMMENT ON COLUMN pgbox.policy.created_by IS 'Who made it: the role that was logged in, and the one that it acted as';

CREATE TABLE pgbox.job (
  job_id bigint GENERATED ALWAYS AS IDENTITY,
  what text NOT NULL,
  target text NOT NULL,
  done_by text NOT NULL,
  started_at timestamptz NOT NULL DEFAULT pg_catalog.statement_timestamp(),
  ended_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  counts jsonb NOT NULL,
  outcome text NOT NULL,
  CONSTRAINT job_pkey PRIMARY KEY (job_id)
);
CREATE INDEX job_ended_at_idx ON pgbox.job (ended_at);
COMMENT ON TABLE pgbox.job IS 'What administrators'' functions and purge changed, what was set by plain DML, and which folders anybody renamed or deleted. What was interrupted or rolled back changed nothing and has no row. Rows stay for store.job_retention';
COMMENT ON COLUMN pgbox.job.job_id IS 'Identity';
COMMENT ON COLUMN pgbox.job.what IS 'The function, or the table and what was done to it; folder_rename and the like also if it wasn''t by this function';
COMMENT ON COLUMN pgbox.job.target IS 'What it worked on';
COMMENT ON COLUMN pgbox.job.done_by IS 'The role that was logged in, the one that it acted as, and for the plugin''s role service and client';
COMMENT ON COLUMN pgbox.job.started_at IS 'When the call began';
COMMENT ON COLUMN pgbox.job.ended_at IS 'When its work was done';
COMMENT ON COLUMN pgbox.job.counts IS 'What it did, in numbers, and what it set';
COMMENT ON COLUMN pgbox.job.outcome IS 'done; more: there is, or may be, work for another call; busy: some mailboxes were in use and left for another call';
COMMENT ON INDEX pgbox.job_ended_at_idx IS 'The latest ones, and those that go';

-- What constraints rest on: so it is made here, and never changes.
CREATE OR REPLACE FUNCTION pgbox.base64_length(p_stored integer, p_base64 integer[])
RETURNS integer
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_at integer := 0;
  v_length integer := p_stored;
BEGIN
  IF p_base64 IS NULL THEN
    RETURN p_stored;
  ELSIF array_ndims(p_base64) IS DISTINCT FROM 1 OR array_lower(p_base64, 1) <> 1 OR cardinality(p_base64) % 4 <> 0 THEN
    RETURN 0;
  END IF;
  FOR i IN 1 .. cardinality(p_base64) BY 4 LOOP
    -- at, size, line, end
    IF (p_base64[i] BETWEEN v_at AND p_stored AND p_base64[i + 1] BETWEEN 1 AND p_stored - p_base64[i]
        AND p_base64[i + 2] BETWEEN 4 AND 996 AND p_base64[i + 2] % 4 = 0 AND p_base64[i + 3] IN (1, 2)) IS NOT TRUE THEN
      RETURN 0;
    END IF;
    v_length := v_length - p_base64[i + 1] + (p_base64[i + 1] + 2) / 3 * 4
                + p_base64[i + 1] / (p_base64[i + 2] / 4 * 3) * p_base64[i + 3];
    v_at := p_base64[i] + p_base64[i + 1];
  END LOOP;
  RETURN v_length;
END
$$;
COMMENT ON FUNCTION pgbox.base64_length(integer, integer[]) IS 'How many bytes a piece of a body has of which so many are stored, with these runs of base64 decoded (body.base64); 0: there can''t be such runs';

-- NOT VALID: who reads the whole tables to find them right keeps nobody out,
-- afterwards (pgbox-schema)
ALTER TABLE pgbox.body
  ADD COLUMN base64 integer[],
  DROP CONSTRAINT body_size_check,
  ADD CONSTRAINT body_size_check
    CHECK (size > 0 AND CASE WHEN base64 IS NULL THEN pg_catalog.octet_length(head)
                             ELSE pgbox.base64_length(pg_catalog.octet_length(head), base64) END = LEAST(size, 131072)) NOT VALID;
COMMENT ON COLUMN pgbox.body.head IS 'The first 131072 bytes, but for what base64 tells; the rest is in body_chunk. body_bytes(head, base64) is what was sent';
COMMENT ON COLUMN pgbox.body.base64 IS 'Where base64 is stored decoded; NULL: nowhere. Four numbers for each run of its lines: where in head its bytes begin (from 0), how many they are, characters in a line, bytes in a line''s end (1 LF, 2 CRLF)';
ALTER TABLE pgbox.body_chunk
  ADD COLUMN base64 integer[],
  ADD CONSTRAINT body_chunk_base64_check
    CHECK (base64 IS NULL OR pgbox.base64_length(pg_catalog.octet_length(data), base64) BETWEEN 1 AND 131072) NOT VALID;
COMMENT ON COLUMN pgbox.body_chunk.data IS '131072 bytes, fewer in the last chunk, but for what base64 tells: body_bytes(data, base64) is what was sent';
COMMENT ON COLUMN pgbox.body_chunk.base64 IS 'Where base64 is stored decoded, see body.base64';

-- A node of version 1 reads head and data as they are. There is none where nothing is
-- stored yet.
ALTER TABLE pgbox.store ADD COLUMN base64_decoded boolean NOT NULL DEFAULT false;
UPDATE pgbox.store SET base64_decoded = true WHERE NOT EXISTS (SELECT 1 FROM pgbox.content);
COMMENT ON COLUMN pgbox.store.base64_decoded IS 'True: base64 of new bodies is stored decoded; false: as it is, since there may be nodes of version 1, which can''t read it otherwise';
