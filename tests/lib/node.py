"""A private Dovecot for one test run: sdbox, maildir or pgbox underneath."""

import contextlib
import glob
import os
import re
import shutil
import subprocess
import time

import cluster as pgcluster
import proc
from imapclient import ImapClient
from lmtp import LmtpClient
from proc import LabError

MODULES = "/usr/lib/dovecot/modules"
LIBEXEC = "/usr/lib/dovecot"
MODULE_NAME = "lib20_pgbox_plugin.so"
DOVEADM_MODULE_NAME = "lib20_doveadm_pgbox_plugin.so"
SERVICE_NAME = "pgbox-notify"
VALGRIND = ["/usr/bin/valgrind", "-q", "--vgdb=no", "--leak-check=full",
            "--suppressions=" + os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                             "valgrind.supp"),
            "--show-leak-kinds=definite,indirect", "--num-callers=30",
            "--child-silent-after-fork=yes"]
# Dovecot looks once a second whether the list of users has changed: these are
# in it from the start.
USERS_READY = 2000
BAD_LOG = re.compile(r"(Panic|Fatal|Error): ")
# What Dovecot's own process says if the server is stopped while it still starts.
STOPPED_EARLY = "anvil: Fatal: Error reading configuration: .*Connection reset by peer"

TEMPLATE = """
base_dir = %(dir)s/run
state_dir = %(dir)s/state
log_path = %(dir)s/dovecot.log
protocols = imap pop3 lmtp sieve
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_username_chars =
default_internal_user = %(internal)s
default_internal_group = %(internal_group)s
default_login_user = %(login)s
default_vsz_limit = %(vsz)s
first_valid_uid = 1
mail_max_userip_connections = 0
mail_home = %(dir)s/mail/%%u
mail_location = %(location)s
mail_plugin_dir = %(dir)s/modules
mail_plugins = %(plugins)s
mail_attribute_dict = file:%%h/dovecot-attributes
recipient_delimiter = +
postmaster_address = postmaster@example.org
hostname = mx.example.org
sendmail_path = %(dir)s/sendmail
lda_mailbox_autocreate = no
quota_full_tempfail = no
import_environment = $import_environment %(environment)s
mail_uid = %(mail_user)s
mail_gid = %(mail_group)s
%(auth)s
namespace inbox {
  inbox = yes
  separator = %(separator)s
  mailbox Drafts {
    special_use = \\Drafts
  }
  mailbox Sent {
    special_use = \\Sent
  }
  mailbox Trash {
    special_use = \\Trash
  }
}
service imap-login {
  chroot =
  service_count = 0
  inet_listener imap {
    port = %(imap_port)d
  }
  inet_listener imaps {
    port = 0
  }
}
service pop3-login {
  chroot =
  service_count = 0
  inet_listener pop3 {
    port = %(pop3_port)d
  }
  inet_listener pop3s {
    port = 0
  }
}
service managesieve-login {
  chroot =
  inet_listener sieve {
    port = %(sieve_port)d
  }
}
service lmtp {
  inet_listener lmtp {
    port = %(lmtp_port)d
  }
}
service anvil {
  chroot =
  # No growing delay after failed logins, all come from one address.
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
service stats {
  unix_listener stats-writer {
    mode = 0666
  }
  unix_listener stats-reader {
    mode = 0666
  }
}
protocol imap {
  mail_plugins = $mail_plugins %(imap_plugins)s
  imap_metadata = yes
}
protocol lmtp {
  mail_plugins = $mail_plugins sieve
}
protocol lda {
  mail_plugins = $mail_plugins sieve
}
protocol doveadm {
  mail_plugins = $mail_plugins %(doveadm_plugins)s
}
plugin {
  quota = %(quota)s:User quota
  quota_rule = ?:storage=1G
  quota_vsizes = yes
  sieve = file:~/sieve;active=~/.dovecot.sieve
  sieve_extensions = +imap4flags +vacation
  sieve_vacation_send_from_recipient = yes
}
"""
# Anybody's password is `pw`; who there is stands in a file.
AUTH = """
passdb {
  driver = static
  args = password=pw
}
userdb {
  driver = passwd-file
  args = username_format=%%u %(dir)s/users
}
service auth {
  unix_listener auth-userdb {
    mode = 0666
  }
}
"""
PGBOX = """
plugin {
  pgbox_db = %s
}
"""
POOLED = """
plugin {
  pgbox_prepare = no
  pgbox_notify_db = %s
}
"""
REPLICA = """
plugin {
  pgbox_replica_db = %s
}
"""
CONTENT_CACHE = """
plugin {
  pgbox_content_cache = %s/mail/content-cache
  pgbox_content_cache_size = %s
}
"""
NOTIFY = """
service pgbox-notify {
  executable = %(command)s
  user = %(user)s
  process_min_avail = 1
  process_limit = 1
  client_limit = 5000
  unix_listener pgbox-notify {
    mode = 0666
  }
}
"""
VALGRIND_SERVICE = """
service %s {
  executable = %s --log-file=%s/vg/%%p %s/%s
}
"""


def built_beside(*path):
    """A file of the build that the plugin belongs to, by its path in src, or None."""
    module = built_module()
    place = module and os.path.join(os.path.dirname(module), "..", "..", *path)
    return place if place and os.path.exists(place) else None


def built_service():
    """The signal service that belongs to the built plugin, or None."""
    return built_beside("notify", SERVICE_NAME)


def built_module():
    """The plugin that was built last, or None."""
    chosen = os.environ.get("PGBOX_TEST_MODULE", "")
    if os.path.exists(chosen):
        return chosen
    places = glob.glob(os.path.join(proc.ROOT, "src", ".libs", MODULE_NAME))
    places += glob.glob(os.path.join(proc.ROOT, "src", "*", ".libs", MODULE_NAME))
    for folder in (".pgbox", ".check"):
        places += glob.glob(os.path.join(proc.ROOT, folder, "build", "src", "*", ".libs", MODULE_NAME))
    return max(places, key=os.path.getmtime, default=None)


class Node:
    """Config, start, stop, log checks, clients of one Dovecot instance.

    place: where it and its clients are, if not in our own network: inside() of a
    host of network.py."""

    def __init__(self, workdir, name="main", storage="pgbox", database="",
                 separator="/", plugins="quota zlib", extra="", valgrind=False,
                 preload="", auth=AUTH, notify=False, location="", direct="", replica="",
                 place=contextlib.nullcontext):
        self.name = name
        self.dir = os.path.join(workdir, name)
        self.storage = storage
        self.database = database
        # where that is a pooler's: the way around it, for the service of signals
        self._direct = direct
        self._replica = replica
        self.separator = separator
        self.valgrind = valgrind
        self.log = os.path.join(self.dir, "dovecot.log")
        self.conf = os.path.join(self.dir, "dovecot.conf")
        self.ports = dict(zip(("imap", "pop3", "lmtp", "sieve"), proc.PORTS.take(4)))
        self._plugins = plugins + (" pgbox" if storage == "pgbox" else "")
        self._extra = extra
        self._preload = preload
        self._auth = auth
        self._notify = notify
        self._place = place
        # appended to mail_location, like ":INDEX=MEMORY"
        self._location = location
        self._expected = []
        self._log_seen = 0
        self._pick_users()
        self._make_folders()
        self.write_config()

    def _pick_users(self):
        if proc.is_root():
            self.mail_user, self._internal, self._login = "nobody", "dovecot", "dovenull"
        else:
            self.mail_user = self._internal = self._login = proc.own_user()

    def _make_folders(self):
        for sub in ("", "run", "state", "mail", "vg", "modules"):
            path = os.path.join(self.dir, sub)
            os.makedirs(path, exist_ok=True)
            os.chmod(path, 0o755)
        for sub in ("mail", "vg"):
            proc.give(os.path.join(self.dir, sub), self.mail_user)
        self._link_modules()
        self._write_file("users", "".join(self._user_line("u%d" % number)
                                          for number in range(1, USERS_READY + 1)))
        self._write_file("sendmail", "#!/bin/sh\nexec cat >> %s/mail/outgoing\n" % self.dir)
        os.chmod(os.path.join(self.dir, "sendmail"), 0o755)

    def _link_modules(self):
        target = os.path.join(self.dir, "modules")
        for entry in os.listdir(MODULES):
            if entry not in (MODULE_NAME, DOVEADM_MODULE_NAME):
                os.symlink(os.path.join(MODULES, entry), os.path.join(target, entry))
        if self.storage == "pgbox":
            module = built_module()
            if not module:
                raise LabError("%s isn't built: run make first" % MODULE_NAME)
            # A copy: a build that runs meanwhile must not change it under us.
            shutil.copy(module, os.path.join(target, MODULE_NAME))
            shutil.copy(built_beside("doveadm", ".libs", DOVEADM_MODULE_NAME), os.path.join(target, DOVEADM_MODULE_NAME))
            shutil.copy(built_service(), os.path.join(self.dir, SERVICE_NAME))

    def _write_file(self, name, text):
        with open(os.path.join(self.dir, name), "w") as handle:
            handle.write(text)

    # -- config -----------------------------------------------------------

    def write_config(self):
        """Write dovecot.conf anew, from the node's present attributes."""
        self._write_file("dovecot.conf", self._config())

    def _config(self):
        values = {
            "dir": self.dir, "auth": self._auth % {"dir": self.dir}, "internal": self._internal, "login": self._login,
            "internal_group": proc.group_of(self._internal),
            "mail_user": self.mail_user, "mail_group": proc.group_of(self.mail_user),
            "location": "%s:~/%s%s" % (self.storage, self.storage, self._location),
            "plugins": self._plugins,
            "quota": "pgbox" if self.storage == "pgbox" else "count",
            "imap_plugins": " ".join("imap_" + name for name in ("quota", "zlib")
                                     if name in self._plugins.split()), "separator": self.separator,
            "doveadm_plugins": "doveadm_pgbox" if self.storage == "pgbox" else "",
            "vsz": "0" if self.valgrind or self._preload else "512M",
            "environment": "GDB=1" if self.valgrind or self._preload else "",
        }
        values.update({key + "_port": port for key, port in self.ports.items()})
        text = TEMPLATE % values
        if self.storage == "pgbox":
            text += PGBOX % self._conninfo(self.database)
            if self._direct:
                text += POOLED % self._conninfo(self._direct)
            if self._replica:
                text += REPLICA % self._conninfo(self._replica)
            size = os.environ.get("PGBOX_TEST_CONTENT_CACHE")
            if size:
                text += CONTENT_CACHE % (self.dir, size)
        if self._notify:
            text += NOTIFY % {"command": self._notify_command(), "user": self.mail_user}
        return text + self._wrappers() + self._extra

    def _notify_command(self):
        command = os.path.join(self.dir, SERVICE_NAME)
        if self.valgrind:
            command = "%s --log-file=%s/vg/%%p %s" % (" ".join(VALGRIND), self.dir, command)
        return command

    def _conninfo(self, database):
        secret = os.path.join(self.dir, "pgpass")
        if not os.path.exists(secret):
            self.write_pgpass(pgcluster.PASSWORD)
        return "%s passfile=%s" % (database, secret)

    def write_pgpass(self, password):
        """Write the database password where the mail user alone can read it."""
        secret = os.path.join(self.dir, "pgpass")
        if os.path.exists(secret):
            os.remove(secret)
        with open(os.open(secret, os.O_WRONLY | os.O_CREAT, 0o600), "w") as handle:
            handle.write("*:*:*:*:%s\n" % password)
        proc.give(secret, self.mail_user)

    def _wrappers(self):
        text = ""
        if self.valgrind:
            for service in ("imap", "pop3", "lmtp"):
                text += VALGRIND_SERVICE % (service, " ".join(VALGRIND), self.dir,
                                            LIBEXEC, service)
        if self._preload:
            for service in ("imap", "pop3", "lmtp"):
                text += ("service %s {\n  executable = /usr/bin/env %s %s/%s\n}\n"
                         % (service, self._sanitizer_environment(), LIBEXEC, service))
        return text

    def _sanitizer_environment(self):
        return ("LD_PRELOAD=%s ASAN_OPTIONS=detect_leaks=1:detect_odr_violation=0:"
                "fast_unwind_on_malloc=0:log_path=%s/vg/asan "
                "UBSAN_OPTIONS=print_stacktrace=1" % (self._preload, self.dir))

    def set_extra(self, extra):
        """Replace the additional config text; takes effect at the next start."""
        self._extra = extra
        self.write_config()

    # -- life -------------------------------------------------------------

    def start(self):
        """Start the server; it listens when this returns."""
        with self._place():
            self._start()

    def _start(self):
        done = proc.run(["/usr/sbin/dovecot", "-c", self.conf], check=False)
        if done.returncode != 0:
            raise LabError("dovecot doesn't start:\n%s%s" % (
                done.stderr.decode(), self.log_text()[-2000:]))
        proc.wait_for(lambda: all(proc.listening(p) for p in self.ports.values()),
                      15, "dovecot to listen")

    def pid(self):
        """The master's process id, or None."""
        try:
            with open(os.path.join(self.dir, "run", "master.pid")) as handle:
                pid = int(handle.read())
        except (OSError, ValueError):
            return None
        return pid if proc.alive(pid) else None

    def stop(self):
        """Stop the server and wait for all of its processes."""
        pid = self.pid()
        if not pid:
            return
        children = descendants(pid)
        self.expect_log(STOPPED_EARLY)
        proc.kill_wait(pid, seconds=60)
        deadline = time.monotonic() + (60 if self.valgrind else 10)
        while any(proc.alive(child) for child in children):
            if time.monotonic() > deadline:
                break
            time.sleep(0.02)

    def restart(self):
        """Stop and start."""
        self.stop()
        self.start()

    def reload(self):
        """Make new processes read the config again."""
        self.doveadm("reload")

    # -- users and clients ------------------------------------------------

    def _user_line(self, user, fields=""):
        return "%s:::::%s::%s\n" % (user, self.home(user), fields)

    def add_user(self, user, fields=""):
        """Let the user log in with password `pw`; fields are userdb extras."""
        if re.match(r"u\d+$", user) and int(user[1:]) <= USERS_READY and not fields:
            return
        with open(os.path.join(self.dir, "users"), "a") as handle:
            handle.write(self._user_line(user, fields))
        time.sleep(1.1)

    def home(self, user):
        """The user's folder on this node."""
        return os.path.join(self.dir, "mail", user)

    def index_dir(self, user):
        """The local cache of pgbox for this user."""
        return os.path.join(self.home(user), "pgbox")

    def imap(self, user=None, timeout=None):
        """An IMAP connection, logged in when a user is given."""
        with self._place():
            client = ImapClient(self.ports["imap"],
                                timeout=timeout or (120 if self.valgrind else 30))
        return client.login(user) if user else client

    def lmtp(self, timeout=None):
        """An LMTP connection."""
        with self._place():
            return LmtpClient(self.ports["lmtp"],
                              timeout=timeout or (120 if self.valgrind else 30))

    def doveadm(self, *args, user=None, data=None, check=True, timeout=120, flags=()):
        """Run doveadm [flags] COMMAND [-u user] args; return CompletedProcess."""
        argv = ["/usr/bin/doveadm", "-c", self.conf] + list(flags)
        env = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "HOME": "/"}
        if self.valgrind:
            argv = VALGRIND + ["--trace-children=yes",
                               "--log-file=%s/vg/doveadm.%%p" % self.dir] + argv
            env["GDB"] = "1"
        words = split_verb(args)
        argv += words[0] + (["-u", user] if user else []) + words[1]
        with self._place():
            done = proc.run(argv, data=data, env=env, check=False, timeout=timeout)
        if check and done.returncode != 0:
            raise AssertionError("doveadm %s: exit %d\n%s%s" % (
                " ".join(args), done.returncode, done.stdout.decode("utf-8", "replace"),
                done.stderr.decode("utf-8", "replace")))
        return done

    def lda(self, user, message, *args, check=True):
        """Deliver by dovecot-lda; return CompletedProcess."""
        argv = [LIBEXEC + "/dovecot-lda", "-c", self.conf, "-d", user] + list(args)
        with self._place():
            return proc.run(argv, data=message, check=check)

    def notify_socket(self):
        """Path of the signal service's socket."""
        return os.path.join(self.dir, "run", SERVICE_NAME)

    def notify_pids(self):
        """Process ids of the signal service: one, or none."""
        return [pid for pid in descendants(self.pid()) if SERVICE_NAME in command_of(pid)]

    def imap_pids(self, user):
        """Process ids of the user's imap processes."""
        lines = self.doveadm("who", "-1", user).stdout.decode().splitlines()[1:]
        return [int(line.split()[2]) for line in lines if line.split()[1] == "imap"]

    # -- log --------------------------------------------------------------

    def log_text(self):
        """The whole log."""
        try:
            with open(self.log, encoding="utf-8", errors="replace") as handle:
                return handle.read()
        except FileNotFoundError:
            return ""

    def log_since_mark(self):
        """The log since the last mark_log()."""
        return self.log_text()[self._log_seen:]

    def mark_log(self):
        """Forget what was logged until now, and what was expected in it."""
        self._log_seen = len(self.log_text())
        self._expected = []

    def expect_log(self, *patterns):
        """Allow error lines that match, until the next mark_log()."""
        self._expected += [re.compile(pattern) for pattern in patterns]

    def bad_log_lines(self):
        """Panic, Fatal and Error lines since the mark that nobody expected."""
        return [line for line in self.log_since_mark().splitlines()
                if BAD_LOG.search(line)
                and not any(p.search(line) for p in self._expected)]

    def assert_log_clean(self):
        """Fail on unexpected Panic, Fatal and Error lines."""
        lines = self.bad_log_lines()
        if lines:
            raise AssertionError("in the log of %s:\n%s" % (
                self.name, "\n".join(lines[:20])))

    def reports(self):
        """What valgrind or a sanitizer said: {file: text}, after stop()."""
        found = {}
        for path in glob.glob(os.path.join(self.dir, "vg", "*")):
            if os.path.getsize(path):
                with open(path, errors="replace") as handle:
                    found[os.path.basename(path)] = handle.read()
        for line in self.log_text().splitlines():
            if "runtime error:" in line:
                found.setdefault("log", "")
                found["log"] += line + "\n"
        return found


def split_verb(args):
    """doveadm takes its command's options after the command's words."""
    count = 2 if args[0] in {"mailbox", "quota", "sieve", "fts", "acl", "flags", "pgbox"} else 1
    if args[:2] in (("mailbox", "metadata"), ("mailbox", "cache")):
        count = 3
    return list(args[:count]), list(args[count:])


def descendants(pid):
    """Process ids of all processes below pid."""
    found = []
    todo = [pid]
    while todo:
        try:
            below = pgcluster.children_of(todo.pop())
        except OSError:
            continue
        found += below
        todo += below
    return found


def command_of(pid):
    """A process's command line, with spaces; empty if it is gone."""
    try:
        with open("/proc/%d/cmdline" % pid) as handle:
            return handle.read().replace("\0", " ")
    except OSError:
        return ""
