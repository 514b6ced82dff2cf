# shellcheck shell=bash
# shellcheck disable=SC2034 # variables are for the other files, and for fill
# Building the plugin, out of the source tree, and a module folder with it.

MODULE=lib20_pgbox_plugin.so
DOVEADM_MODULE=lib20_doveadm_pgbox_plugin.so
DOVECOT_MODULES=/usr/lib/dovecot/modules

# run_logged WHAT LOG COMMAND...: a long step with its output in a log.
run_logged() {
	local what=$1 log=$2
	shift 2
	"$@" >> "$log" 2>&1 || {
		log_tail "$log"
		die "$what failed" "The whole output is in $log."
	}
}

# The autotools can't work in every folder.
source_path_check() {
	[[ $ROOT != *[[:space:]\\\"\#\$\&\'\`]* ]] ||
		die "the checkout's path \"$ROOT\" has characters that configure can't hold" \
			"Move the checkout to a path without spaces and the like."
}

# autoreconf, when configure is missing or older than what it is made from.
# Two runs at once must not do that together: the lock is on configure.ac.
make_configure() {
	local log=$1 newer
	[ ! -f "$ROOT/config.status" ] ||
		die "the source folder itself was configured; building elsewhere then fails" \
			"Run: make -C $ROOT distclean"
	exec 8< "$ROOT/configure.ac"
	flock 8
	newer=$(find "$ROOT/configure.ac" "$ROOT/Makefile.am" "$ROOT/m4" "$ROOT/share" "$ROOT/sql" "$ROOT/src" "$ROOT/tests" \
		\( -name '*.ac' -o -name '*.am' -o -name '*.m4' \) \
		-newer "$ROOT/configure" -print -quit 2> /dev/null || true)
	if [ ! -f "$ROOT/configure" ] || [ -n "$newer" ]; then
		[ -w "$ROOT" ] || die "the build needs to write configure into $ROOT, which is not yours" \
			"Run as its owner, or copy the checkout."
		note "autoreconf"
		run_logged autoreconf "$log" autoreconf -fi "$ROOT"
	fi
	exec 8<&-
}

# built_module BUILD_DIR: print the path of the plugin.
built_module() { find "$1/src" -path "*/.libs/$MODULE" -print -quit 2> /dev/null; }

# build_plugin BUILD_DIR: configure when needed, then make. AUTH_FIX is then what
# Dovecot's auth needs (share/auth-fix.c), NOTIFY the signal service.
#
# A build belongs to one revision of Dovecot's package (its structs can change
# under the same version number): with another one installed it starts anew.
build_plugin() {
	local build=$1 log=$1.log revision
	: > "$log"
	make_configure "$log"
	revision=$(dpkg-query -W -f '${Version}' dovecot-dev)
	if [ "$(cat "$build/.dovecot-revision" 2> /dev/null)" != "$revision" ]; then
		rm -rf "$build"
		mkdir -p "$build"
	fi
	if [ ! -f "$build/config.status" ] || [ "$ROOT/configure" -nt "$build/config.status" ]; then
		note "configure (for Dovecot $revision)"
		run_logged configure "$log" env -C "$build" "$ROOT/configure" -q --with-dovecot=/usr/lib/dovecot
	fi
	note "make"
	run_logged make "$log" make -C "$build" -j"$(nproc)"
	[ -n "$(built_module "$build")" ] || die "make ended well but made no $MODULE" "See $log."
	printf '%s\n' "$revision" > "$build/.dovecot-revision"
	AUTH_FIX=$build/share/.libs/auth-fix.so
	NOTIFY=$build/src/notify/pgbox-notify
}

# link_modules BUILD_DIR MODULES_DIR: Dovecot looks for plugins in one folder
# only, so make one with links to the system's plugins and to ours.
link_modules() {
	local build=$1 modules=$2
	rm -rf "$modules"
	mkdir -p "$modules"
	cp -rs "$DOVECOT_MODULES/." "$modules/"
	ln -sf "$(built_module "$build")" "$modules/$MODULE"
	# as any other plugin: doveadm looks for its own in the system's folder
	ln -sf "$build/src/doveadm/.libs/$DOVEADM_MODULE" "$modules/$DOVEADM_MODULE"
}
