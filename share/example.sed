# Turns quickstart's templates into the examples that "make install" puts into
# the documentation's folder: what only a private server needs goes, and what
# it fills in gets the values of a usual one.

# the note on these values
/^# quickstart fills in/,/^# with example.sed/c\
# An example: put in your own addresses, names and passwords. Before it works\
# there must be the database ("pgbox-schema install"), the user vmail ("adduser\
# --system --group vmail"), its folder /var/lib/pgbox, and the files named here.
/^instance_name = /d
/^base_dir = /d
/^state_dir = /d
/^log_path = /d
/^mail_plugin_dir = /d
/^hostname = /d
/^# How Sieve sends/d
/^sendmail_path = /d
/^protocol doveadm {/,/^}/d

s|@LISTEN@|*, ::|
s|@IMAP_PORT@|143|
s|@IMAPS_PORT@|993|
s|@POP3_PORT@|110|
s|@LMTP_PORT@|24|
s|@SIEVE_PORT@|4190|
s|@MAIL_USER@|vmail|
s|@MAIL_GROUP@|vmail|
s|@INDEX_DIR@|/var/lib/pgbox/index|
s|@CONTENT_DIR@|/var/lib/pgbox/content|
s|@STATE_FILE@|/var/lib/pgbox/state|
s|@HOME_DIR@|/var/lib/pgbox/home|
s|@CONF_DIR@/tls-cert.pem|/etc/dovecot/private/dovecot.pem|
s|@CONF_DIR@/tls-key.pem|/etc/dovecot/private/dovecot.key|
s|@CONF_DIR@|/etc/dovecot|g
s|@DB_CONNINFO@|host=db.example.org port=5432 dbname=mail sslmode=verify-full sslrootcert=/etc/dovecot/db-ca.pem|
s|@DB_PASSWORD@|SECRET|
s|@DB_HOST@|db.example.org|g
s|@DB_PORT@|5432|g
s|@DB_NAME@|mail|g
s|@POOLER_ADDRESS@|127.0.0.1|g
s|@POOLER_PORT@|6432|g
s|@POOLER_RUN_DIR@|/var/run/postgresql|g
s|@POOLER_LOG_DIR@|/var/log/postgresql|g
s|@POOLER_CONF_DIR@|/etc/pgbouncer|g
s|@POSTMASTER@|postmaster@example.org|
