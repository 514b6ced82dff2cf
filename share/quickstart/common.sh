# shellcheck shell=bash
# shellcheck disable=SC2034 # variables are for the other files, and for fill
# Messages, users, state and templates; sourced by quickstart and check.
#
# The caller has set ROOT (the checkout). Functions that need the work folder
# say so: they use DIR (absolute).

say() { printf '==> %s\n' "$*"; }
note() { printf '    %s\n' "$*"; }
warn() { printf '!!! %s\n' "$*" >&2; }

# die WHAT [HINT...]: what went wrong, then what to do about it, and exit.
die() {
	printf 'ERROR: %s\n' "$1" >&2
	shift
	local hint
	for hint in "$@"; do
		printf '       %s\n' "$hint" >&2
	done
	exit 1
}

# log_tail FILE: the end of a log, for a failure's explanation.
log_tail() {
	[ -r "$1" ] || return 0
	printf '       --- the end of %s\n' "$1" >&2
	tail -n 15 "$1" | sed 's/^/       /' >&2
}

is_root() { [ "$(id -u)" = 0 ]; }

# --- Users -------------------------------------------------------------------

# As root PostgreSQL runs as "postgres" and mail processes as "mail", users
# that the packages or the base system bring. Otherwise all is the caller.
set_users() {
	if is_root; then
		PG_USER=postgres MAIL_USER=mail
	else
		PG_USER=$(id -un)
		MAIL_USER=$PG_USER
	fi
	PG_GROUP=$(id -gn "$PG_USER")
	MAIL_GROUP=$(id -gn "$MAIL_USER")
}

# as_user USER COMMAND...: run it as that user, from the root folder. (Not by
# runuser or su: those go through PAM, which may not be set up in a container.)
as_user() {
	local user=$1
	shift
	if is_root; then
		(cd / && exec setpriv --reuid="$user" --regid="$(id -gn "$user")" \
			--init-groups env HOME=/ USER="$user" LOGNAME="$user" "$@")
	else
		(cd / && exec "$@")
	fi
}

# --- State: small files under DIR/state ---------------------------------------

state_get() {
	[ ! -f "$DIR/state/$1" ] || cat "$DIR/state/$1"
}

state_set() {
	printf '%s\n' "$2" | private_file "$DIR/state/$1" "$(id -un)" "$(id -gn)"
}

# --- Secrets: files under DIR/secrets, mode 0600 --------------------------------

random_password() {
	local text
	text=$(openssl rand -base64 48 | tr -dc 'A-Za-z0-9')
	printf '%s\n' "${text:0:24}"
}

# secret_file NAME: make a random password once.
secret_file() {
	local file=$DIR/secrets/$1
	[ -s "$file" ] || random_password | private_file "$file" "$(id -un)" "$(id -gn)"
}

secret_get() { cat "$DIR/secrets/$1"; }

# private_file FILE OWNER GROUP: put standard input into FILE, readable by
# OWNER alone from its first byte on.
private_file() {
	rm -f "$1.new"
	(umask 077 && cat > "$1.new")
	! is_root || chown "$2:$3" "$1.new"
	mv "$1.new" "$1"
}

# install_dir DIR OWNER GROUP MODE: make a folder, or put its rights in order.
install_dir() {
	mkdir -p "$1"
	! is_root || chown "$2:$3" "$1"
	chmod "$4" "$1"
}

# --- Templates -------------------------------------------------------------------

# fill TEMPLATE NAME...: print a file of share/ with each @NAME@ replaced by
# the shell variable NAME.
fill() {
	local text name
	text=$(cat "$ROOT/share/$1")
	shift
	for name in "$@"; do
		text=${text//"@$name@"/"${!name}"}
	done
	printf '%s\n' "$text"
}

# --- Ports and processes ----------------------------------------------------------

port_taken() {
	(exec 3<> "/dev/tcp/127.0.0.1/$1") 2> /dev/null
}

# wait_for SECONDS COMMAND...: until the command succeeds.
wait_for() {
	local tries=$(($1 * 10))
	shift
	while ! "$@" > /dev/null 2>&1; do
		tries=$((tries - 1))
		[ "$tries" -gt 0 ] || return 1
		sleep 0.1
	done
}
