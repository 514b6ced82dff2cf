-- pgbox schema, migration 1: the tables.
--
-- Rules that every writer keeps (DESIGN: sql/README):
--   * whoever changes messages of a mailbox first locks its mailbox_counter
--     row, takes UIDs and one modseq from it, and holds the lock to COMMIT:
--     commit order = UID order = modseq order;
--   * several mailboxes are locked in order of mailbox_id;
--   * changes to the tree of an account lock the account row first, counters
--     after.
-- Modseqs move in steps of 65536: a node's local transaction log counts
-- modseqs of its own between two of ours and must never overtake us.

CREATE SCHEMA pgbox;
COMMENT ON SCHEMA pgbox IS 'Mail storage for Dovecot: mailboxes, messages and their change counters';

CREATE TABLE pgbox.schema_version (
  version integer NOT NULL,
  name text NOT NULL,
  sha256 text NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
  CONSTRAINT schema_version_pkey PRIMARY KEY (version)
);
COMMENT ON TABLE pgbox.schema_version IS 'Migrations that were applied, one row each';
COMMENT ON COLUMN pgbox.schema_version.version IS 'Number of the migration file';
COMMENT ON COLUMN pgbox.schema_version.name IS 'Name of the migration file';
COMMENT ON COLUMN pgbox.schema_version.sha256 IS 'SHA-256 of the file as it was applied';
COMMENT ON COLUMN pgbox.schema_version.applied_at IS 'When it was applied';

CREATE TABLE pgbox.store (
  singleton boolean NOT NULL DEFAULT true,
  store_guid uuid NOT NULL DEFAULT pg_catalog.gen_random_uuid(),
  epoch integer NOT NULL DEFAULT 1,
  retention interval NOT NULL DEFAULT '14 days',
  created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
  CONSTRAINT store_pkey PRIMARY KEY (singleton),
  CONSTRAINT store_singleton_check CHECK (singleton),
  CONSTRAINT store_epoch_check CHECK (epoch > 0),
  CONSTRAINT store_retention_check CHECK (retention >= '0'::interval)
);
COMMENT ON TABLE pgbox.store IS 'The one row that describes this store';
COMMENT ON COLUMN pgbox.store.singleton IS 'Always true: there is one row';
COMMENT ON COLUMN pgbox.store.store_guid IS 'Identity of the store, kept by dumps and replicas';
COMMENT ON COLUMN pgbox.store.epoch IS 'Raised when commits may have been lost (restore, failover): caches of older epochs are rebuilt';
COMMENT ON COLUMN pgbox.store.retention IS 'How long expunged messages and deleted mailboxes stay restorable';
COMMENT ON COLUMN pgbox.store.created_at IS 'When the store was made';
INSERT INTO pgbox.store DEFAULT VALUES;

CREATE TABLE pgbox.account (
  account_id bigint GENERATED ALWAYS AS IDENTITY,
  name text COLLATE "C" NOT NULL,
  password_hash text,
  enabled boolean NOT NULL DEFAULT true,
  last_uidvalidity bigint NOT NULL DEFAULT 0,
  list_modseq bigint NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
  CONSTRAINT account_pkey PRIMARY KEY (account_id),
  CONSTRAINT account_name_key UNIQUE (name),
  CONSTRAINT account_name_check CHECK (name <> '' AND pg_catalog.length(name) <= 255)
);
COMMENT ON TABLE pgbox.account IS 'Owners of mailboxes; the name is the Dovecot username';
COMMENT ON COLUMN pgbox.account.account_id IS 'Identity';
COMMENT ON COLUMN pgbox.account.name IS 'Dovecot username, compared byte for byte';
COMMENT ON COLUMN pgbox.account.password_hash IS 'Password in a scheme that Dovecot verifies, with its {SCHEME} prefix; NULL: no login by password';
COMMENT ON COLUMN pgbox.account.enabled IS 'False: no login and no delivery, the mail stays';
COMMENT ON COLUMN pgbox.account.last_uidvalidity IS 'Highest UIDVALIDITY given to a mailbox of this account; never given twice';
COMMENT ON COLUMN pgbox.account.list_modseq IS 'Change counter of the mailbox tree and the subscriptions';
COMMENT ON COLUMN pgbox.account.created_at IS 'When the account was made';

CREATE TABLE pgbox.mailbox (
  mailbox_id bigint GENERATED ALWAYS AS IDENTITY,
  account_id bigint NOT NULL,
  name text COLLATE "C" NOT NULL,
  guid uuid,
  uidvalidity bigint,
  special_use text,
  created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
  deleted_at timestamptz,
  CONSTRAINT mailbox_pkey PRIMARY KEY (mailbox_id),
  CONSTRAINT mailbox_account_id_fkey FOREIGN KEY (account_id) REFERENCES pgbox.account (account_id),
  CONSTRAINT mailbox_name_check CHECK (name <> '' AND pg_catalog.octet_length(name) <= 4096),
  CONSTRAINT mailbox_selectable_check CHECK ((guid IS NULL) = (uidvalidity IS NULL)),
  CONSTRAINT mailbox_uidvalidity_check CHECK (uidvalidity BETWEEN 1 AND 4294967295)
);
-- Partial, so that it can't be the target of a foreign key: renaming then
-- doesn't wait for transactions that insert messages (FOR KEY SHARE).
CREATE UNIQUE INDEX mailbox_account_id_name_key ON pgbox.mailbox (account_id, name) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX mailbox_account_id_guid_key ON pgbox.mailbox (account_id, guid) WHERE deleted_at IS NULL;
CREATE INDEX mailbox_deleted_at_idx ON pgbox.mailbox (deleted_at) WHERE deleted_at IS NOT NULL;
COMMENT ON TABLE pgbox.mailbox IS 'Mailboxes, and nodes of the tree that can''t be selected';
COMMENT ON COLUMN pgbox.mailbox.mailbox_id IS 'Identity; lock order of several mailboxes';
COMMENT ON COLUMN pgbox.mailbox.account_id IS 'Owner';
COMMENT ON COLUMN pgbox.mailbox.name IS 'Full name in UTF-8, levels separated by /';
COMMENT ON COLUMN pgbox.mailbox.guid IS 'Mailbox GUID; NULL: a node that only holds children (\Noselect)';
COMMENT ON COLUMN pgbox.mailbox.uidvalidity IS 'IMAP UIDVALIDITY (RFC 3501 2.3.1.1); NULL with guid';
COMMENT ON COLUMN pgbox.mailbox.special_use IS 'RFC 6154 attributes, separated by spaces, when set by the client or an administrator';
COMMENT ON COLUMN pgbox.mailbox.created_at IS 'When it was created';
COMMENT ON COLUMN pgbox.mailbox.deleted_at IS 'When it was deleted; its messages stay restorable until purged';
COMMENT ON INDEX pgbox.mailbox_account_id_name_key IS 'A name is used once in an account';
COMMENT ON INDEX pgbox.mailbox_account_id_guid_key IS 'A GUID is used once in an account';
COMMENT ON INDEX pgbox.mailbox_deleted_at_idx IS 'Finds what can be purged';

CREATE TABLE pgbox.mailbox_counter (
  mailbox_id bigint NOT NULL,
  uid_next bigint NOT NULL DEFAULT 1,
  highest_modseq bigint NOT NULL DEFAULT 65536,
  messages integer NOT NULL DEFAULT 0,
  unseen integer NOT NULL DEFAULT 0,
  virtual_size bigint NOT NULL DEFAULT 0,
  first_recent_uid bigint NOT NULL DEFAULT 1,
  pruned_modseq bigint NOT NULL DEFAULT 0,
  CONSTRAINT mailbox_counter_pkey PRIMARY KEY (mailbox_id),
  CONSTRAINT mailbox_counter_mailbox_id_fkey FOREIGN KEY (mailbox_id) REFERENCES pgbox.mailbox (mailbox_id) ON DELETE CASCADE,
  CONSTRAINT mailbox_counter_uid_next_check CHECK (uid_next BETWEEN 1 AND 4294967296),
  CONSTRAINT mailbox_counter_highest_modseq_check CHECK (highest_modseq > 0 AND highest_modseq % 65536 = 0),
  CONSTRAINT mailbox_counter_messages_check CHECK (messages >= 0 AND unseen BETWEEN 0 AND messages AND virtual_size >= 0),
  CONSTRAINT mailbox_counter_first_recent_uid_check CHECK (first_recent_uid BETWEEN 1 AND uid_next),
  CONSTRAINT mailbox_counter_pruned_modseq_check CHECK (pruned_modseq BETWEEN 0 AND highest_modseq)
) WITH (fillfactor = 50);
COMMENT ON TABLE pgbox.mailbox_counter IS 'The change counters of a mailbox: the row that each change locks first';
COMMENT ON COLUMN pgbox.mailbox_counter.mailbox_id IS 'The mailbox';
COMMENT ON COLUMN pgbox.mailbox_counter.uid_next IS 'The next UID; never goes down';
COMMENT ON COLUMN pgbox.mailbox_counter.highest_modseq IS 'Modseq of the last change (RFC 7162); multiples of 65536';
COMMENT ON COLUMN pgbox.mailbox_counter.messages IS 'Number of messages';
COMMENT ON COLUMN pgbox.mailbox_counter.unseen IS 'Number of messages without \Seen';
COMMENT ON COLUMN pgbox.mailbox_counter.virtual_size IS 'Sum of the messages'' sizes with CRLF line ends, in bytes';
COMMENT ON COLUMN pgbox.mailbox_counter.first_recent_uid IS 'UIDs below it were shown as \Recent to a session already';
COMMENT ON COLUMN pgbox.mailbox_counter.pruned_modseq IS 'Tombstones up to this modseq may be gone: caches synced less far are rebuilt';

CREATE TABLE pgbox.mailbox_keyword (
  mailbox_id bigint NOT NULL,
  number smallint NOT NULL,
  name text COLLATE "C" NOT NULL,
  CONSTRAINT mailbox_keyword_pkey PRIMARY KEY (mailbox_id, number),
  CONSTRAINT mailbox_keyword_mailbox_id_fkey FOREIGN KEY (mailbox_id) REFERENCES pgbox.mailbox (mailbox_id) ON DELETE CASCADE,
  CONSTRAINT mailbox_keyword_number_check CHECK (number > 0),
  CONSTRAINT mailbox_keyword_name_check CHECK (name <> '' AND pg_catalog.octet_length(name) <= 1024 AND name !~ '[[:space:]]')
);
CREATE UNIQUE INDEX mailbox_keyword_mailbox_id_name_key ON pgbox.mailbox_keyword (mailbox_id, pg_catalog.lower(name));
COMMENT ON TABLE pgbox.mailbox_keyword IS 'Names of the keywords used in a mailbox, numbered; numbers are never reused';
COMMENT ON COLUMN pgbox.mailbox_keyword.mailbox_id IS 'The mailbox';
COMMENT ON COLUMN pgbox.mailbox_keyword.number IS 'The number that message_state.keywords holds';
COMMENT ON COLUMN pgbox.mailbox_keyword.name IS 'IMAP keyword; compared without regard to ASCII case';
COMMENT ON INDEX pgbox.mailbox_keyword_mailbox_id_name_key IS 'A keyword has one number in a mailbox';

CREATE TABLE pgbox.body (
  body_id bigint GENERATED ALWAYS AS IDENTITY,
  digest bytea NOT NULL,
  size bigint NOT NULL,
  head bytea NOT NULL,
  CONSTRAINT body_pkey PRIMARY KEY (body_id),
  CONSTRAINT body_digest_key UNIQUE (digest),
  CONSTRAINT body_digest_check CHECK (pg_catalog.octet_length(digest) = 32),
  CONSTRAINT body_size_check CHECK (size > 0 AND pg_catalog.octet_length(head) = LEAST(size, 131072))
);
COMMENT ON TABLE pgbox.body IS 'Bodies of messages: immutable, each stored once whoever received it';
COMMENT ON COLUMN pgbox.body.body_id IS 'Identity';
COMMENT ON COLUMN pgbox.body.digest IS 'SHA-256 of the body''s bytes';
COMMENT ON COLUMN pgbox.body.size IS 'Size in bytes';
COMMENT ON COLUMN pgbox.body.head IS 'The first 131072 bytes; the rest is in body_chunk';

CREATE TABLE pgbox.body_chunk (
  body_id bigint NOT NULL,
  number integer NOT NULL,
  data bytea NOT NULL,
  CONSTRAINT body_chunk_pkey PRIMARY KEY (body_id, number),
  CONSTRAINT body_chunk_body_id_fkey FOREIGN KEY (body_id) REFERENCES pgbox.body (body_id) ON DELETE CASCADE,
  CONSTRAINT body_chunk_number_check CHECK (number > 0),
  CONSTRAINT body_chunk_data_check CHECK (pg_catalog.octet_length(data) BETWEEN 1 AND 131072)
);
COMMENT ON TABLE pgbox.body_chunk IS 'Bytes of a body from 131072 on';
COMMENT ON COLUMN pgbox.body_chunk.body_id IS 'The body';
COMMENT ON COLUMN pgbox.body_chunk.number IS 'Position: the chunk starts at byte number * 131072 of the body';
COMMENT ON COLUMN pgbox.body_chunk.data IS '131072 bytes, fewer in the last chunk';

CREATE TABLE pgbox.content (
  content_id bigint GENERATED ALWAYS AS IDENTITY,
  body_id bigint,
  header_complete boolean NOT NULL,
  size bigint NOT NULL,
  virtual_size bigint NOT NULL,
  header bytea NOT NULL,
  envelope bytea,
  bodystructure bytea,
  CONSTRAINT content_pkey PRIMARY KEY (content_id),
  CONSTRAINT content_body_id_fkey FOREIGN KEY (body_id) REFERENCES pgbox.body (body_id),
  CONSTRAINT content_size_check CHECK (size >= pg_catalog.octet_length(header) AND virtual_size >= 0)
) WITH (toast_tuple_target = 4080);
ALTER TABLE pgbox.content ALTER COLUMN header SET STORAGE MAIN;
CREATE INDEX content_body_id_idx ON pgbox.content (body_id);
COMMENT ON TABLE pgbox.content IS 'What a message consists of: immutable, shared by its copies. The bytes are header followed by the body';
COMMENT ON COLUMN pgbox.content.content_id IS 'Identity';
COMMENT ON COLUMN pgbox.content.body_id IS 'The body; NULL if it is empty';
COMMENT ON COLUMN pgbox.content.header_complete IS 'True: header holds the whole RFC 5322 header with the empty line and nothing else. False: it is empty and all bytes are in the body (very large header, or the stored form is compressed or encrypted)';
COMMENT ON COLUMN pgbox.content.size IS 'Bytes of the message as its reader sees it';
COMMENT ON COLUMN pgbox.content.virtual_size IS 'The same with every line end counted as CRLF (RFC822.SIZE)';
COMMENT ON COLUMN pgbox.content.header IS 'Header bytes';
COMMENT ON COLUMN pgbox.content.envelope IS 'IMAP ENVELOPE, without the outer parentheses; NULL: not computed';
COMMENT ON COLUMN pgbox.content.bodystructure IS 'IMAP BODYSTRUCTURE, without the outer parentheses; NULL: not computed';
COMMENT ON INDEX pgbox.content_body_id_idx IS 'Finds bodies that nobody uses any more';

CREATE TABLE pgbox.message (
  mailbox_id bigint NOT NULL,
  uid bigint NOT NULL,
  content_id bigint NOT NULL,
  guid uuid NOT NULL,
  received_at timestamptz NOT NULL,
  saved_at timestamptz NOT NULL,
  pop3_uidl text,
  pop3_order bigint,
  CONSTRAINT message_pkey PRIMARY KEY (mailbox_id, uid),
  CONSTRAINT message_mailbox_id_fkey FOREIGN KEY (mailbox_id) REFERENCES pgbox.mailbox (mailbox_id),
  CONSTRAINT message_content_id_fkey FOREIGN KEY (content_id) REFERENCES pgbox.content (content_id),
  CONSTRAINT message_uid_check CHECK (uid BETWEEN 1 AND 4294967295)
);
CREATE INDEX message_content_id_idx ON pgbox.message (content_id);
COMMENT ON TABLE pgbox.message IS 'Messages in mailboxes: what never changes';
COMMENT ON COLUMN pgbox.message.mailbox_id IS 'The mailbox';
COMMENT ON COLUMN pgbox.message.uid IS 'IMAP UID';
COMMENT ON COLUMN pgbox.message.content_id IS 'Its bytes';
COMMENT ON COLUMN pgbox.message.guid IS 'Message GUID; copies have the same';
COMMENT ON COLUMN pgbox.message.received_at IS 'IMAP INTERNALDATE';
COMMENT ON COLUMN pgbox.message.saved_at IS 'When it came into this mailbox (RFC 8514 SAVEDATE)';
COMMENT ON COLUMN pgbox.message.pop3_uidl IS 'POP3 UIDL, if it was imported with one';
COMMENT ON COLUMN pgbox.message.pop3_order IS 'Position in POP3 listings, if it was imported with one';
COMMENT ON INDEX pgbox.message_content_id_idx IS 'Finds contents that nobody uses any more';

CREATE TABLE pgbox.message_state (
  mailbox_id bigint NOT NULL,
  uid bigint NOT NULL,
  modseq bigint NOT NULL,
  flags smallint NOT NULL DEFAULT 0,
  keywords smallint[],
  CONSTRAINT message_state_pkey PRIMARY KEY (mailbox_id, uid),
  CONSTRAINT message_state_mailbox_id_uid_fkey FOREIGN KEY (mailbox_id, uid) REFERENCES pgbox.message (mailbox_id, uid) ON DELETE CASCADE,
  CONSTRAINT message_state_flags_check CHECK (flags BETWEEN 0 AND 31),
  CONSTRAINT message_state_keywords_check CHECK (pg_catalog.cardinality(keywords) > 0)
);
CREATE INDEX message_state_mailbox_id_modseq_idx ON pgbox.message_state (mailbox_id, modseq);
COMMENT ON TABLE pgbox.message_state IS 'Messages in mailboxes: what changes. Narrow, because it is rewritten often and read first by a cold node';
COMMENT ON COLUMN pgbox.message_state.mailbox_id IS 'The mailbox';
COMMENT ON COLUMN pgbox.message_state.uid IS 'IMAP UID';
COMMENT ON COLUMN pgbox.message_state.modseq IS 'Modseq of the message''s last change';
COMMENT ON COLUMN pgbox.message_state.flags IS 'Sum of 1 \Answered, 2 \Flagged, 4 \Deleted, 8 \Seen, 16 \Draft';
COMMENT ON COLUMN pgbox.message_state.keywords IS 'Numbers of mailbox_keyword, ascending; NULL: none';
COMMENT ON INDEX pgbox.message_state_mailbox_id_modseq_idx IS 'What changed since a modseq';

CREATE TABLE pgbox.expunged (
  mailbox_id bigint NOT NULL,
  uid bigint NOT NULL,
  modseq bigint NOT NULL,
  content_id bigint,
  guid uuid NOT NULL,
  received_at timestamptz NOT NULL,
  saved_at timestamptz NOT NULL,
  flags smallint NOT NULL,
  keywords smallint[],
  expunged_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  reason text NOT NULL,
  moved_to bigint,
  CONSTRAINT expunged_pkey PRIMARY KEY (mailbox_id, uid),
  CONSTRAINT expunged_mailbox_id_fkey FOREIGN KEY (mailbox_id) REFERENCES pgbox.mailbox (mailbox_id),
  CONSTRAINT expunged_content_id_fkey FOREIGN KEY (content_id) REFERENCES pgbox.content (content_id)
);
CREATE INDEX expunged_mailbox_id_modseq_idx ON pgbox.expunged (mailbox_id, modseq);
CREATE INDEX expunged_content_id_idx ON pgbox.expunged (content_id);
CREATE INDEX expunged_expunged_at_idx ON pgbox.expunged (expunged_at);
COMMENT ON TABLE pgbox.expunged IS 'Tombstones: what tells other nodes that a message is gone, and brings it back within the retention period';
COMMENT ON COLUMN pgbox.expunged.mailbox_id IS 'The mailbox it was in';
COMMENT ON COLUMN pgbox.expunged.uid IS 'The UID it had';
COMMENT ON COLUMN pgbox.expunged.modseq IS 'Modseq of the expunge';
COMMENT ON COLUMN pgbox.expunged.content_id IS 'Its bytes while it can be restored';
COMMENT ON COLUMN pgbox.expunged.guid IS 'The GUID it had';
COMMENT ON COLUMN pgbox.expunged.received_at IS 'IMAP INTERNALDATE';
COMMENT ON COLUMN pgbox.expunged.saved_at IS 'When it had come into the mailbox';
COMMENT ON COLUMN pgbox.expunged.flags IS 'The flags it had';
COMMENT ON COLUMN pgbox.expunged.keywords IS 'The keywords it had';
COMMENT ON COLUMN pgbox.expunged.expunged_at IS 'When it was expunged';
COMMENT ON COLUMN pgbox.expunged.reason IS 'What expunged it: service and client as the writer gives them';
COMMENT ON COLUMN pgbox.expunged.moved_to IS 'Mailbox that it was moved to, if it was moved';
COMMENT ON INDEX pgbox.expunged_mailbox_id_modseq_idx IS 'What was expunged since a modseq';
COMMENT ON INDEX pgbox.expunged_content_id_idx IS 'Finds contents that nobody uses any more';
COMMENT ON INDEX pgbox.expunged_expunged_at_idx IS 'Finds what can be purged';

CREATE TABLE pgbox.subscription (
  account_id bigint NOT NULL,
  name text COLLATE "C" NOT NULL,
  CONSTRAINT subscription_pkey PRIMARY KEY (account_id, name),
  CONSTRAINT subscription_account_id_fkey FOREIGN KEY (account_id) REFERENCES pgbox.account (account_id) ON DELETE CASCADE,
  CONSTRAINT subscription_name_check CHECK (name <> '' AND pg_catalog.octet_length(name) <= 4096)
);
COMMENT ON TABLE pgbox.subscription IS 'Subscribed names; they need not exist (RFC 3501 6.3.6)';
COMMENT ON COLUMN pgbox.subscription.account_id IS 'Who subscribed';
COMMENT ON COLUMN pgbox.subscription.name IS 'Full name in UTF-8, levels separated by /';

CREATE TABLE pgbox.mailbox_attribute (
  mailbox_id bigint NOT NULL,
  shared boolean NOT NULL,
  key text COLLATE "C" NOT NULL,
  value bytea NOT NULL,
  changed_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
  CONSTRAINT mailbox_attribute_pkey PRIMARY KEY (mailbox_id, shared, key),
  CONSTRAINT mailbox_attribute_mailbox_id_fkey FOREIGN KEY (mailbox_id) REFERENCES pgbox.mailbox (mailbox_id) ON DELETE CASCADE,
  CONSTRAINT mailbox_attribute_key_check CHECK (key <> '' AND pg_catalog.octet_length(key) <= 1024)
);
COMMENT ON TABLE pgbox.mailbox_attribute IS 'IMAP METADATA (RFC 5464) and what Dovecot keeps as mailbox attributes; those of the server hang on INBOX';
COMMENT ON COLUMN pgbox.mailbox_attribute.mailbox_id IS 'The mailbox';
COMMENT ON COLUMN pgbox.mailbox_attribute.shared IS 'True: /shared, false: /private';
COMMENT ON COLUMN pgbox.mailbox_attribute.key IS 'Name of the attribute';
COMMENT ON COLUMN pgbox.mailbox_attribute.value IS 'Its value';
COMMENT ON COLUMN pgbox.mailbox_attribute.changed_at IS 'When it was set';

CREATE TABLE pgbox.commit_token (
  token uuid NOT NULL,
  mailbox_id bigint,
  prev_modseq bigint,
  modseq bigint,
  uids bigint[],
  created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
  CONSTRAINT commit_token_pkey PRIMARY KEY (token),
  CONSTRAINT commit_token_modseq_check CHECK ((modseq IS NULL) = (mailbox_id IS NULL))
);
CREATE INDEX commit_token_created_at_idx ON pgbox.commit_token (created_at);
COMMENT ON TABLE pgbox.commit_token IS 'Settles commits whose answer was lost: a writer leaves its token with the result, or finds it claimed';
COMMENT ON COLUMN pgbox.commit_token.token IS 'Made by the writer';
COMMENT ON COLUMN pgbox.commit_token.mailbox_id IS 'Mailbox that messages were added to; NULL: claimed, the transaction will never commit';
COMMENT ON COLUMN pgbox.commit_token.prev_modseq IS 'The mailbox''s modseq before it';
COMMENT ON COLUMN pgbox.commit_token.modseq IS 'The modseq that the transaction took';
COMMENT ON COLUMN pgbox.commit_token.uids IS 'The UIDs that it gave';
COMMENT ON COLUMN pgbox.commit_token.created_at IS 'When; tokens are purged after a day';
COMMENT ON INDEX pgbox.commit_token_created_at_idx IS 'Finds tokens that can be purged';
