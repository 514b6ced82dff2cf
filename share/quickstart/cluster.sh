# shellcheck shell=bash
# shellcheck disable=SC2034 # variables are for the other files, and for fill
# The database: a private PostgreSQL cluster under DIR/pg, or one that the user
# names; its schema; the demo account. Uses DIR, RUN_ROOT, PORT_BASE.

PG_PORT_OFFSET=90
DATABASE=pgbox

find_pg_bin() {
	local bin
	bin=$(printf '%s\n' /usr/lib/postgresql/*/bin/initdb | sort -rV | head -n 1)
	[ -x "$bin" ] || die "PostgreSQL's server programs are not under /usr/lib/postgresql" \
		"Install the package postgresql, or use --database URI."
	PG_BIN=${bin%/initdb}
}

# (fd 9 is the lock of this run: a server must not inherit it)
pg_ctl() { as_user "$PG_USER" "$PG_BIN/pg_ctl" -D "$DIR/pg" "$@" 9>&-; }

cluster_running() { [ -f "$DIR/pg/postmaster.pid" ] && pg_ctl status > /dev/null 2>&1; }

cluster_create() {
	local pwfile=$DIR/initdb-password
	say "Making a private PostgreSQL cluster in $DIR/pg"
	install_dir "$DIR/pg" "$PG_USER" "$PG_GROUP" 700
	secret_file postgres-password
	private_file "$pwfile" "$PG_USER" "$PG_GROUP" < "$DIR/secrets/postgres-password"
	as_user "$PG_USER" "$PG_BIN/initdb" -D "$DIR/pg" -U postgres -E UTF8 --locale=C.UTF-8 \
		--data-checksums -A scram-sha-256 --pwfile="$pwfile" > "$DIR/initdb.log" 2>&1 || {
		log_tail "$DIR/initdb.log"
		rm -rf "$DIR/pg" "$pwfile"
		die "initdb failed" "The whole output is in $DIR/initdb.log."
	}
	rm -f "$pwfile"
	echo "include 'pgbox.conf'" >> "$DIR/pg/postgresql.conf"
}

cluster_configure() {
	PG_PORT=$((PORT_BASE + PG_PORT_OFFSET))
	PG_SOCKET_DIR=$RUN_ROOT/sql
	install_dir "$PG_SOCKET_DIR" "$PG_USER" "$PG_GROUP" 755
	fill postgresql.conf.in PG_PORT PG_SOCKET_DIR | private_file "$DIR/pg/pgbox.conf" "$PG_USER" "$PG_GROUP"
	fill pg_hba.conf.in | private_file "$DIR/pg/pg_hba.conf" "$PG_USER" "$PG_GROUP"
	printf '*:*:*:postgres:%s\n' "$(secret_get postgres-password)" |
		private_file "$DIR/secrets/pgpass" "$(id -un)" "$(id -gn)"
}

cluster_start() {
	find_pg_bin
	[ -f "$DIR/pg/PG_VERSION" ] || cluster_create
	local version
	version=$(cat "$DIR/pg/PG_VERSION")
	PG_BIN=/usr/lib/postgresql/$version/bin
	[ -x "$PG_BIN/postgres" ] || die "the cluster in $DIR/pg needs PostgreSQL $version, which is not installed" \
		"Install postgresql-$version, or begin anew with another --dir."
	cluster_configure
	if ! cluster_running; then
		say "Starting PostgreSQL $version on 127.0.0.1:$PG_PORT"
		! port_taken "$PG_PORT" || die "port $PG_PORT is taken by another program" \
			"Stop that program, or begin anew with another --dir and --port-base."
		touch "$DIR/pg.log"
		chmod 600 "$DIR/pg.log"
		! is_root || chown "$PG_USER:$PG_GROUP" "$DIR/pg.log"
		pg_ctl -s -w -t 60 -l "$DIR/pg.log" start || {
			log_tail "$DIR/pg.log"
			die "PostgreSQL did not start" "The whole log is $DIR/pg.log."
		}
	fi
	PGURI="postgresql://postgres@127.0.0.1:$PG_PORT/$DATABASE?passfile=$DIR/secrets/pgpass"
	DB_CONNINFO="host=$PG_SOCKET_DIR port=$PG_PORT dbname=$DATABASE"
	sql "${PGURI/"/$DATABASE?"//postgres?}" <<-SQL || die "no connection to the private cluster" "See $DIR/pg.log."
		SELECT 'CREATE DATABASE $DATABASE' WHERE NOT EXISTS
		       (SELECT FROM pg_database WHERE datname = '$DATABASE') \\gexec
	SQL
}

cluster_stop() {
	find_pg_bin
	if cluster_running; then
		say "Stopping PostgreSQL"
		pg_ctl -s -w -t 60 -m fast stop || die "PostgreSQL did not stop" "See $DIR/pg.log."
	fi
}

# The user's own database. A password in the URI goes into a file, so that
# it is not seen in the arguments of the programs that are given the URI.
database_use() {
	local answer
	answer=$(printf '%s\n' "$DATABASE_URI" |
		"$ROOT/share/quickstart/database-uri" "$DIR/secrets/pgpass") || exit 1
	PGURI=$(sed -n 1p <<< "$answer")
	DB_CONNINFO=$(sed -n 2p <<< "$answer")
	sql "$PGURI" <<< 'SELECT 1;' > /dev/null ||
		die "no connection to the database that was given with --database" \
			"See psql's message above."
}

# sql URI: run the SQL on standard input, print bare rows, stop at errors.
sql() { psql -X -w -q -A -t -v ON_ERROR_STOP=1 -d "$1"; }

database_start() {
	[ -n "$DATABASE_URI" ] || cluster_start
	say "Installing the schema"
	secret_file dovecot-password
	: > "$DIR/schema.log"
	schema_step install --dovecot-password-file "$DIR/secrets/dovecot-password"
	# what is there may be older than this checkout
	schema_step upgrade
	# not before: after a failure the URI may be another one
	[ -z "$DATABASE_URI" ] || state_set database-uri "$DATABASE_URI"
	# "already at version" only if neither had anything to do
	note "$(grep -E 'installed version|upgraded|functions of this' "$DIR/schema.log" || tail -n 1 "$DIR/schema.log")"
	account_ensure
}

schema_step() { # COMMAND [OPTION...]
	"$ROOT/sql/pgbox-schema" "$1" --database "$PGURI" "${@:2}" >> "$DIR/schema.log" 2>&1 || {
		log_tail "$DIR/schema.log"
		die "pgbox-schema $1 failed" "The whole output is in $DIR/schema.log."
	}
}

# The demo account with a password that we know. Values go in by standard
# input, and the server is told not to write statements that fail to its log.
account_ensure() {
	local new='' password
	[ -s "$DIR/secrets/demo-password" ] || new=yes
	secret_file demo-password
	password=$(secret_get demo-password)
	sql "$PGURI" <<-SQL > /dev/null || die "making the demo account failed" "See psql's message above."
		\\set user '$DEMO_USER'
		\\set password '$password'
		\\set new '$new'
		SELECT count(*) AS accounts FROM pgbox.dovecot_userdb WHERE username = :'user' \\gset
		SELECT :accounts > 0 AS known, :'new' <> '' AS renew,
		       current_setting('is_superuser') = 'on' AS super \\gset
		\\if :super
		SET log_min_error_statement = panic;
		\\endif
		\\if :known
		\\if :renew
		SELECT pgbox.account_set_password(:'user', :'password');
		\\endif
		\\else
		SELECT pgbox.account_create(:'user', :'password');
		\\endif
	SQL
}
