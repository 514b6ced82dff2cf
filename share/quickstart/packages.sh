# shellcheck shell=bash
# shellcheck disable=SC2034 # variables are for the other files, and for fill
# Debian packages: which are missing, and installing them.

QUICKSTART_PACKAGES=(dovecot-core dovecot-imapd dovecot-pop3d dovecot-lmtpd
	dovecot-sieve dovecot-managesieved dovecot-pgsql dovecot-dev
	postgresql postgresql-client libpq-dev libssl-dev
	autoconf automake libtool make gcc libc6-dev pkg-config
	ca-certificates python3 openssl curl)

# missing_packages NAME...: print those that aren't installed.
missing_packages() {
	local name
	for name in "$@"; do
		case $(dpkg-query -W -f '${db:Status-Status}' "$name" 2> /dev/null) in
		installed) ;;
		*) printf '%s\n' "$name" ;;
		esac
	done
}

# ensure_packages NAME...: install what is missing, as root; say how if not.
ensure_packages() {
	local missing
	command -v apt-get > /dev/null ||
		die "this isn't Debian: apt-get is not there" \
			"Build by hand: README.md, section \"Installing\"."
	mapfile -t missing < <(missing_packages "$@")
	[ ${#missing[@]} -gt 0 ] || return 0
	is_root || die "packages are missing: ${missing[*]}" \
		"Install them, then run me again:" \
		"  sudo apt-get install --no-install-recommends ${missing[*]}"
	say "Installing packages: ${missing[*]}"
	apt_get update -q
	install_quietly "${missing[@]}" ||
		die "apt-get could not install: ${missing[*]}" "See its messages above."
	mapfile -t missing < <(missing_packages "$@")
	[ ${#missing[@]} -eq 0 ] || die "still not installed: ${missing[*]}"
	[ ! -d /run/systemd/system ] ||
		note "Their own services were not started, but would be at the next boot;" \
			"if you don't want that: systemctl disable dovecot postgresql"
}

apt_get() {
	DEBIAN_FRONTEND=noninteractive apt-get -o Dpkg::Use-Pty=0 \
		-o DPkg::Lock::Timeout=300 "$@"
}

# Debian's packages start their services, and PostgreSQL's makes a cluster
# "main" that starts at each boot. Nobody asked for either here. The usual
# switches are files in /usr/sbin and /etc, which aren't ours to touch;
# therefore apt-get runs in a mount namespace of its own where three files look
# different: the two programs that start services do nothing, and
# createcluster.conf says no. Nothing of that is seen outside or stays.
install_quietly() {
	if ! unshare --mount true 2> /dev/null; then
		# A container without the right to do so. Such a one has no
		# init that could start services; the unused cluster is made.
		apt_get install -q -y --no-install-recommends "$@"
		return
	fi
	declare -fx apt_get
	# shellcheck disable=SC2016 # expanded by the inner shell
	unshare --mount --propagation private bash -euc '
		for program in /usr/sbin/invoke-rc.d /usr/bin/deb-systemd-invoke; do
			[ ! -e "$program" ] || mount --bind /bin/true "$program"
		done
		case " $* " in
		*" postgresql "*)
			apt_get install -q -y --no-install-recommends postgresql-common
			conf=$(mktemp)
			trap '\''rm -f "$conf"'\'' EXIT
			chmod 644 "$conf"
			echo "create_main_cluster = false" > "$conf"
			mount --bind "$conf" /etc/postgresql-common/createcluster.conf
			;;
		esac
		apt_get install -q -y --no-install-recommends "$@"
	' install_quietly "$@"
}
