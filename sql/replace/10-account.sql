-- Accounts and their passwords.

CREATE OR REPLACE FUNCTION pgbox.hmac_sha256(p_key bytea, p_message bytea)
RETURNS bytea
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_key bit(512);
BEGIN
  v_key := ('x' || encode(CASE WHEN octet_length(p_key) > 64 THEN sha256(p_key) ELSE p_key END, 'hex'))::bit(512);
  RETURN sha256(substring(varbit_send(v_key # ('x' || repeat('5c', 64))::bit(512)) FROM 5)
                || sha256(substring(varbit_send(v_key # ('x' || repeat('36', 64))::bit(512)) FROM 5)
                          || p_message));
END
$$;
COMMENT ON FUNCTION pgbox.hmac_sha256(bytea, bytea) IS 'HMAC-SHA-256 (RFC 2104)';

CREATE OR REPLACE FUNCTION pgbox.password_hash(p_password text, p_iterations integer DEFAULT 4096)
RETURNS text
LANGUAGE plpgsql VOLATILE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_salt bytea := uuid_send(gen_random_uuid());
  v_key bit(512);
  v_inner bytea;
  v_outer bytea;
  v_block bytea;
  v_sum bit(256);
  v_salted bytea;
BEGIN
  IF p_iterations < 4096 THEN
    RAISE EXCEPTION 'at least 4096 iterations, please' USING ERRCODE = '22023';
  END IF;
  -- PBKDF2 (RFC 8018) with one block; the padded keys are the same each round
  v_block := convert_to(p_password, 'UTF8');
  v_key := ('x' || encode(CASE WHEN octet_length(v_block) > 64 THEN sha256(v_block) ELSE v_block END, 'hex'))::bit(512);
  v_inner := substring(varbit_send(v_key # ('x' || repeat('36', 64))::bit(512)) FROM 5);
  v_outer := substring(varbit_send(v_key # ('x' || repeat('5c', 64))::bit(512)) FROM 5);
  v_block := sha256(v_outer || sha256(v_inner || v_salt || '\x00000001'::bytea));
  v_sum := ('x' || encode(v_block, 'hex'))::bit(256);
  FOR i IN 2 .. p_iterations LOOP
    v_block := sha256(v_outer || sha256(v_inner || v_block));
    v_sum := v_sum # ('x' || encode(v_block, 'hex'))::bit(256);
  END LOOP;
  v_salted := substring(varbit_send(v_sum) FROM 5);
  RETURN '{SCRAM-SHA-256}' || p_iterations
         || ',' || encode(v_salt, 'base64')
         || ',' || encode(sha256(pgbox.hmac_sha256(v_salted, 'Client Key')), 'base64')
         || ',' || encode(pgbox.hmac_sha256(v_salted, 'Server Key'), 'base64');
END
$$;
COMMENT ON FUNCTION pgbox.password_hash(text, integer) IS 'Salted hash of a password (RFC 5802/7677) in the form that Dovecot''s SCRAM-SHA-256 scheme verifies';

-- What is asked for by now() less a retention must be a time. Loss is final, so what
-- is rather a forgotten unit is no retention.
CREATE OR REPLACE FUNCTION pgbox.retention_check(p_what text, p_retention interval)
RETURNS void
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF p_retention < '0'::interval OR p_retention > '1000 years'::interval
     OR p_retention <> '0'::interval AND p_retention < '1 hour'::interval THEN
    RAISE EXCEPTION '% can''t be %: it is 0, or an hour to 1000 years', p_what, p_retention
      USING ERRCODE = '22023', HINT = 'Write the unit: ''14 days''. A number without one is seconds. 0 keeps nothing.';
  END IF;
END
$$;
COMMENT ON FUNCTION pgbox.retention_check(text, interval) IS 'Fails for what can''t be a retention: below an hour and not 0, or above 1000 years. NULL passes';

-- Dovecot makes the ASCII letters of user names lower case before it asks.
CREATE OR REPLACE FUNCTION pgbox.account_name_check(p_name text)
RETURNS void
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF p_name IS NULL OR p_name = '' OR length(p_name) > 255 THEN
    RAISE EXCEPTION 'an account can''t be named %', COALESCE('"' || left(p_name, 255) || '"', 'NULL')
      USING ERRCODE = 'PB012', HINT = 'Its name is the Dovecot username: 1 to 255 characters.';
  ELSIF p_name COLLATE "C" ~ '[[:space:][:cntrl:]/]' THEN
    RAISE EXCEPTION 'account name "%" has a space, a control character or a slash: Dovecot would refuse it', p_name
      USING ERRCODE = 'PB012', HINT = 'What else it takes, its setting auth_username_chars says.';
  ELSIF p_name COLLATE "C" <> lower(p_name COLLATE "C") THEN
    RAISE EXCEPTION 'account name "%" has capital letters: Dovecot would never find it', p_name
      USING ERRCODE = 'PB012', HINT = format('Take %L.', lower(p_name COLLATE "C"));
  END IF;
END
$$;
COMMENT ON FUNCTION pgbox.account_name_check(text) IS 'Fails if no account can have this name, or Dovecot would never ask for it';

-- Dovecot would let in whoever gives an empty password.
CREATE OR REPLACE FUNCTION pgbox.password_check(p_password text)
RETURNS void
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF p_password = '' THEN
    RAISE EXCEPTION 'the password of an account can''t be empty: anybody would get in'
      USING ERRCODE = '22023', HINT = 'NULL is no password: nobody logs in by one.';
  END IF;
END
$$;
COMMENT ON FUNCTION pgbox.password_check(text) IS 'Fails for an empty password, or hash; NULL is none';

CREATE OR REPLACE FUNCTION pgbox.account_create(p_name text, p_password text DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_account bigint;
BEGIN
  PERFORM pgbox.account_name_check(p_name);
  PERFORM pgbox.password_check(p_password);
  INSERT INTO pgbox.account (name, password_hash)
  VALUES (p_name, pgbox.password_hash(p_password))
  RETURNING account_id INTO v_account;
  PERFORM pgbox.mailbox_create(v_account, 'INBOX', true, NULL, NULL, NULL);
  PERFORM pgbox.job_record('account_create', p_name, jsonb_build_object('account_id', v_account, 'password', p_password IS NOT NULL), 'done');
  RETURN v_account;
EXCEPTION WHEN unique_violation THEN
  RAISE EXCEPTION 'account "%" exists already', p_name USING ERRCODE = 'PB003';
END
$$;
COMMENT ON FUNCTION pgbox.account_create(text, text) IS 'Make an account with an empty INBOX; without a password nobody logs in by password. Returns its account_id';

CREATE OR REPLACE FUNCTION pgbox.account_set_password(p_name text, p_password text)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_had boolean;
BEGIN
  PERFORM pgbox.password_check(p_password);
  SELECT a.password_hash IS NOT NULL INTO v_had FROM pgbox.account AS a WHERE a.name = p_name FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no account "%"', p_name USING ERRCODE = 'PB001';
  ELSIF p_password IS NULL AND NOT v_had THEN
    RETURN;
  END IF;
  UPDATE pgbox.account AS a
     SET password_hash = pgbox.password_hash(p_password)
   WHERE a.name = p_name;
  PERFORM pgbox.job_record('account_set_password', p_name, jsonb_build_object('password', p_password IS NOT NULL), 'done');
END
$$;
COMMENT ON FUNCTION pgbox.account_set_password(text, text) IS 'Set the password of an account; NULL: no login by password';

CREATE OR REPLACE VIEW pgbox.dovecot_passdb AS
SELECT a.name AS username, a.password_hash AS password
  FROM pgbox.account AS a
 WHERE a.enabled AND a.password_hash IS NOT NULL;
COMMENT ON VIEW pgbox.dovecot_passdb IS 'What Dovecot''s passdb sql reads';
COMMENT ON COLUMN pgbox.dovecot_passdb.username IS 'Dovecot username';
COMMENT ON COLUMN pgbox.dovecot_passdb.password IS 'Password hash with its scheme';

CREATE OR REPLACE VIEW pgbox.dovecot_userdb AS
SELECT a.name AS username
  FROM pgbox.account AS a
 WHERE a.enabled;
COMMENT ON VIEW pgbox.dovecot_userdb IS 'Who can get mail: for a userdb sql that knows no locked accounts';
COMMENT ON COLUMN pgbox.dovecot_userdb.username IS 'Dovecot username';

CREATE OR REPLACE VIEW pgbox.dovecot_account AS
SELECT a.name AS username, a.enabled
  FROM pgbox.account AS a
 WHERE a.deleted_at IS NULL;
COMMENT ON VIEW pgbox.dovecot_account IS 'What Dovecot''s userdb sql reads: locked accounts too, which are for doveadm alone';
COMMENT ON COLUMN pgbox.dovecot_account.username IS 'Dovecot username';
COMMENT ON COLUMN pgbox.dovecot_account.enabled IS 'False: locked, no login and no delivery';
