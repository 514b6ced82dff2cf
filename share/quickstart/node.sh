# shellcheck shell=bash
# shellcheck disable=SC2034 # variables are for the other files, and for fill
# Dovecot nodes. Each has a folder DIR/NAME (config, log, home, index, env) and
# a number, which decides its ports. Uses DIR, RUN_ROOT, PORT_BASE, DB_CONNINFO,
# PGURI.

NODES_MAX=9
# DIR's own entries can't be the names of nodes.
RESERVED_NAMES=' build conf corpus modules outbox pg run secrets sql state '

node_name_check() {
	[[ $1 =~ ^[a-z][a-z0-9-]{0,15}$ ]] ||
		die "\"$1\" can't be the name of a node" \
			"Use up to 16 small letters, digits and hyphens, a letter first."
	[[ $RESERVED_NAMES != *" $1 "* ]] || die "the name \"$1\" is used for something else" "Choose another."
}

node_names() { # main first
	local file
	for file in "$DIR"/state/node.*; do
		[ ! -f "$file" ] || printf '%s %s\n' "$(cat "$file")" "${file##*/node.}"
	done | sort -n | cut -d' ' -f2
}

# node_ports NUMBER: set the ports of that node.
node_ports() {
	local base=$((PORT_BASE + 10 * $1))
	IMAP_PORT=$base
	LMTP_PORT=$((base + 1))
	POP3_PORT=$((base + 2))
	SIEVE_PORT=$((base + 3))
	IMAPS_PORT=$((base + 4))
}

# node_paths NAME: set what a node's functions use.
node_paths() {
	NODE=$1
	NODE_DIR=$DIR/$1
	RUN_DIR=$RUN_ROOT/$1
	HOME_DIR=$NODE_DIR/home
	# what may be deleted at any time: the mail user's, who makes it anew
	CACHE_DIR=$NODE_DIR/cache
	INDEX_DIR=$CACHE_DIR/index
	CONTENT_DIR=$CACHE_DIR/content
	STATE_FILE=$CACHE_DIR/state
	OUTBOX_DIR=$NODE_DIR/outbox
	SENDMAIL=$NODE_DIR/sendmail
	DOVECOT_CONF=$NODE_DIR/dovecot.conf
	NODE_LOG=$NODE_DIR/dovecot.log
}

# The number of a new node: the first that is free.
node_number_new() {
	local number used
	used=" $(cat "$DIR"/state/node.* 2> /dev/null | tr '\n' ' ') "
	for ((number = 0; number < NODES_MAX; number++)); do
		if [[ $used != *" $number "* ]]; then
			echo "$number"
			return
		fi
	done
	die "there are $NODES_MAX nodes already; the ports of one --port-base don't reach farther"
}

node_pid() { # of the master process, if it is running and ours
	local pid
	pid=$(cat "$RUN_DIR/master.pid" 2> /dev/null) || return 1
	[[ $pid =~ ^[0-9]+$ ]] && tr '\0' ' ' < "/proc/$pid/cmdline" 2> /dev/null |
		grep -qF -- "$DOVECOT_CONF" && echo "$pid"
}

# What all nodes share: secrets and certificates under DIR/conf.
shared_conf() {
	local DB_PASSWORD key
	CONF_DIR=$DIR/conf
	install_dir "$CONF_DIR" "$(id -un)" "$(id -gn)" 755
	DB_PASSWORD=$(secret_get dovecot-password)
	fill dovecot-sql.conf.ext.in DB_CONNINFO DB_PASSWORD |
		private_file "$CONF_DIR/dovecot-sql.conf.ext" "$(id -un)" "$(id -gn)"
	printf '*:*:*:pgbox_dovecot:%s\n' "$DB_PASSWORD" |
		private_file "$CONF_DIR/pgpass" "$MAIL_USER" "$MAIL_GROUP"
	fill dovecot-oauth2.conf.ext.in CONF_DIR > "$CONF_DIR/dovecot-oauth2.conf.ext"
	if [ ! -s "$CONF_DIR/tls-cert.pem" ]; then
		(umask 077 && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 \
			-subj /CN=localhost -addext 'subjectAltName=DNS:localhost,IP:127.0.0.1' \
			-keyout "$CONF_DIR/tls-key.pem" -out "$CONF_DIR/tls-cert.new" 2> /dev/null)
		chmod 644 "$CONF_DIR/tls-cert.new"
		mv "$CONF_DIR/tls-cert.new" "$CONF_DIR/tls-cert.pem"
	fi
	# the pair of a pretended identity provider; names as in share/oauth-token
	key=$CONF_DIR/oauth-keys/pgbox-demo/RS256/demo-1
	if [ ! -s "$key" ]; then
		mkdir -p "${key%/*}"
		(umask 077 && openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:2048 \
			-out "$DIR/secrets/oauth-private.pem" 2> /dev/null)
		openssl pkey -in "$DIR/secrets/oauth-private.pem" -pubout -out "$key.new"
		mv "$key.new" "$key"
	fi
}

node_conf() {
	local PLUGIN_DIR=$DIR/modules LISTEN=127.0.0.1 POSTMASTER=postmaster@example.org
	# first: $default_internal_user is looked up where it is used
	is_root || fill dovecot-user.conf.in MAIL_USER MAIL_GROUP
	fill dovecot.conf.in NODE NODE_DIR RUN_DIR LISTEN MAIL_USER MAIL_GROUP HOME_DIR INDEX_DIR \
		CONTENT_DIR STATE_FILE PLUGIN_DIR CONF_DIR DB_CONNINFO AUTH_FIX NOTIFY POSTMASTER SENDMAIL \
		IMAP_PORT IMAPS_PORT POP3_PORT LMTP_PORT SIEVE_PORT
	printf '\n# Your own settings for this node.\n!include_try %s/local.conf\n' "$NODE_DIR"
}

node_env() {
	local name
	LOG=$NODE_LOG USER=$DEMO_USER PASSWORD=$(secret_get demo-password)
	for name in IMAP_PORT IMAPS_PORT LMTP_PORT POP3_PORT SIEVE_PORT PGURI DOVECOT_CONF \
		INDEX_DIR CONTENT_DIR LOG USER PASSWORD; do
		printf "%s='%s'\n" "$name" "${!name}"
	done
}

# node_start NAME: make what is missing and start it, or reload a changed config.
node_start() {
	local changed='' port pid
	node_paths "$1"
	[ -n "$(state_get "node.$1")" ] || state_set "node.$1" "$(node_number_new)"
	node_ports "$(state_get "node.$1")"
	install_dir "$NODE_DIR" "$(id -un)" "$(id -gn)" 755
	install_dir "$RUN_DIR" "$(id -un)" "$(id -gn)" 755
	mkdir -p "$NODE_DIR/state"
	install_dir "$HOME_DIR" "$MAIL_USER" "$MAIL_GROUP" 700
	install_dir "$CACHE_DIR" "$MAIL_USER" "$MAIL_GROUP" 700
	install_dir "$OUTBOX_DIR" "$MAIL_USER" "$MAIL_GROUP" 700
	fill sendmail.in OUTBOX_DIR > "$SENDMAIL"
	chmod 755 "$SENDMAIL"
	# dovecot-lda, run as the mail user, writes to the log itself
	touch "$NODE_LOG"
	! is_root || chown "$MAIL_USER:$MAIL_GROUP" "$NODE_LOG"
	shared_conf
	node_conf > "$DOVECOT_CONF.new"
	cmp -s "$DOVECOT_CONF.new" "$DOVECOT_CONF" || changed=yes
	mv "$DOVECOT_CONF.new" "$DOVECOT_CONF"
	node_env | private_file "$NODE_DIR/env" "$(id -un)" "$(id -gn)"
	if pid=$(node_pid); then
		if [ -n "$changed" ]; then
			say "Reloading Dovecot node $NODE (process $pid): its config changed"
			doveadm -c "$DOVECOT_CONF" reload
		fi
		return
	fi
	say "Starting Dovecot node $NODE: IMAP $IMAP_PORT, LMTP $LMTP_PORT, POP3 $POP3_PORT, ManageSieve $SIEVE_PORT"
	for port in "$IMAP_PORT" "$LMTP_PORT" "$POP3_PORT" "$SIEVE_PORT" "$IMAPS_PORT"; do
		! port_taken "$port" || die "port $port is taken by another program" \
			"Stop that program, or begin anew with another --dir and --port-base."
	done
	dovecot -c "$DOVECOT_CONF" 2> "$NODE_DIR/start.log" 9>&- || {
		log_tail "$NODE_DIR/start.log"
		log_tail "$NODE_LOG"
		die "Dovecot did not start" "The whole log is $NODE_LOG."
	}
	wait_for 20 port_taken "$IMAP_PORT" || {
		log_tail "$NODE_LOG"
		die "Dovecot started but does not listen on port $IMAP_PORT" "The whole log is $NODE_LOG."
	}
}

node_stop() {
	local pid
	node_paths "$1"
	pid=$(node_pid) || return 0
	say "Stopping Dovecot node $NODE"
	doveadm -c "$DOVECOT_CONF" stop || kill "$pid"
	# sessions end by themselves when the master is gone
	wait_for 20 node_gone "$pid" || die "Dovecot node $NODE (process $pid) did not stop" "See $NODE_LOG."
}

node_gone() { [ ! -d "/proc/$1" ]; }

node_status() {
	local pid counts
	node_paths "$1"
	node_ports "$(state_get "node.$1")"
	if ! pid=$(node_pid); then
		note "Dovecot node $NODE: stopped"
		return 1
	fi
	note "Dovecot node $NODE: running, process $pid, IMAP $IMAP_PORT (TLS $IMAPS_PORT), LMTP $LMTP_PORT, POP3 $POP3_PORT, ManageSieve $SIEVE_PORT"
	counts=$(doveadm -f flow -c "$DOVECOT_CONF" mailbox status -u "$DEMO_USER" 'messages unseen vsize' INBOX 2>&1) || {
		note "  $DEMO_USER can't be read: ${counts##*$'\n'}"
		return 1
	}
	note "  $DEMO_USER: $counts"
}
