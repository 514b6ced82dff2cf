"""Bad weather at every step: each protocol message, each fault, once.

pgbox only. weather_outcome.py cuts the link at statements; this does it at
each message between a mail process and PostgreSQL, in both directions, with
other faults than a cut, too: one direction ends, answers are lost or late,
the mail process or the server's is killed. A usual run takes a sample;
PGBOX_TEST_EVERY=yes takes all, for half an hour."""

import os
import random
import signal
import threading

import proc
from imapclient import ImapError, Lit
from lmtp import LmtpClient
from mails import PLAIN, queued
from tap import eq, only, timeout, true
from weather import eventually_ok, patience, stormy
from weather_outcome import BIG, COMMANDS, judge, observe, started

EVERY = bool(os.environ.get("PGBOX_TEST_EVERY"))
NODE = patience(800, 1500) + """
protocol imap {
  imap_fetch_failure = no-after
}
"""
STEPS = {name: COMMANDS[name] for name in (
    "APPEND", "APPEND of a large message", "MULTIAPPEND", "STORE", "EXPUNGE", "COPY", "MOVE", "CREATE",
    "RENAME", "DELETE", "SUBSCRIBE", "FETCH", "NOOP")}
STEPS["SETMETADATA"] = lambda c: c.cmd('SETMETADATA box (/private/comment "a word")')
STEPS["SELECT of an unknown mailbox"] = lambda c: c.cmd("SELECT elsewhere")
WRITES = [name for name in STEPS if name not in ("FETCH", "NOOP", "SELECT of an unknown mailbox")]


class Steps:
    """The node, its proxy, and what was done and seen."""

    # (state before, after, number of messages) of commands undisturbed
    measured = {}

    def __init__(self, lab):
        self.lab = lab
        self.node, self.proxy = stormy(lab, "steps", NODE)
        self.node.expect_log("killed with signal 9")
        self.random = random.Random(1)
        self.done = 0

    def session(self):
        """(user, client): a folder that this node hasn't seen is there, too."""
        user, c = started(self.lab, self.node)
        d = self.lab.imap(user)
        d.ok("CREATE elsewhere")
        d.ok("APPEND elsewhere ", Lit(PLAIN))
        d.logout()
        return user, c

    def state(self, user):
        """What the user has, by another node."""
        state = observe(self.lab, user)
        d = self.lab.imap(user)
        reply = d.cmd("GETMETADATA box (/private/comment)")
        d.logout()
        return state + [[item.data for item in reply.all("METADATA")]]

    def measure(self, name, cold=False):
        """(state before, after, number of messages) of a command undisturbed."""
        if (name, cold) not in self.measured:
            self.measured[name, cold] = self._measure(STEPS[name], cold)
        return self.measured[name, cold]

    def _measure(self, command, cold):
        user, c = self.session()
        before = self.state(user)
        if cold:
            self.proxy.cut()
        step = self.proxy.spring_at(0, "count")
        reply = command(c)
        true(reply.ok, "undisturbed: %r" % reply)
        seen = step.seen
        self.proxy.disarm()
        after = self.state(user)
        c.logout()
        return before, after, seen

    def some(self, things, share):
        """All of a list, or so many by chance."""
        things = list(things)
        return things if EVERY else self.random.sample(things, min(share, len(things)))

    def settled(self, c, command, user, judged):
        """The session works, and what has not happened can be done now."""
        reply, state, before, after, what = judged
        judge(what, reply, state, before, after)
        eventually_ok(c, "NOOP")
        if not reply.ok and state == before:
            proc.wait_for(lambda: command(c).ok, 5, what + ": afterwards")
            true(self.state(user) == after, what + ": afterwards")
        self.done += 1

    def fine(self):
        """Rows and counters agree."""
        eq(self.lab.cluster.psql("SELECT rule, problem FROM pgbox.invariant_violations"), [])

    def told(self, what):
        """How much it was, for who asked for everything."""
        if EVERY:
            print("# %s: %d" % (what, self.done), flush=True)


def fault(steps, name, measured, number, action, cold):
    """One command with one fault."""
    before, after, _ = measured
    what = "%s, %s at message %d%s" % (name, action, number, " of a new connection" if cold else "")
    user, c = steps.session()
    if cold:
        steps.proxy.cut()
    steps.proxy.spring_at(number, action)
    reply = STEPS[name](c)
    steps.proxy.disarm()
    if action == "delay":
        true(reply.ok, "%s: %r" % (what, reply))
    steps.settled(c, STEPS[name], user, (reply, steps.state(user), before, after, what))
    c.logout()


def sweep(steps, share, actions, cold=False, names=tuple(STEPS)):
    """Commands, each with these faults at its messages; `share`: how often."""
    for name in names:
        measured = steps.measure(name, cold)
        everything = [(action, number) for action in actions for number in range(1, measured[2] + 1)]
        for action, number in steps.some(everything, share):
            fault(steps, name, measured, number, action, cold)
        if EVERY:
            steps.told("%s, faults" % name)
    steps.fine()


@only("pgbox")
@timeout(3000)
def test_connection_in_use(lab):
    """A link that is in use: cut, torn, half closed, slow at each message."""
    sweep(Steps(lab), 1, ("cut", "tear", "half", "delay"))


@only("pgbox")
@timeout(3000)
def test_connection_being_made(lab):
    """The same from the first message of a new link on, which is alike for all."""
    sweep(Steps(lab), 2, ("cut", "half"), True, ("STORE", "APPEND", "MOVE", "FETCH", "SELECT of an unknown mailbox"))


@only("pgbox")
@timeout(3000)
def test_answers_lost(lab):
    """Messages are lost, the link stays: timeouts end it."""
    sweep(Steps(lab), 1, ("mute",), names=WRITES if EVERY else ("STORE", "APPEND", "MOVE"))


# -- killing ---------------------------------------------------------------

class Background:
    """A function that runs in a thread: its result, or None if the session was cut off."""

    def __init__(self, function, *args):
        self._function, self._args = function, args
        self._result = self._error = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        try:
            self._result = self._function(*self._args)
        except (ImapError, OSError):
            pass
        except BaseException as error:
            self._error = error

    def result(self):
        """Wait for the end."""
        self._thread.join(60)
        if self._error:
            raise self._error
        return self._result


def gone(lab, pid):
    """Wait until a backend has ended: what it was told has taken effect or never will."""
    if pid:
        proc.wait_for(lambda: lab.cluster.value(
            "SELECT count(*) FROM pg_stat_activity WHERE pid = %d" % pid) == "0", 20, "end of the backend")


def kill_client(steps, step):
    """kill -9 of the mail process whose message is held."""
    proc.kill_wait(step.client_pid(), signal.SIGKILL)
    step.release()
    gone(steps.lab, steps.proxy.backend_pid(step.pair))


def end_backend(steps, step):
    """pg_terminate_backend() of the process that the message is of, or for."""
    pid = steps.proxy.backend_pid(step.pair)
    if pid:
        steps.lab.cluster.psql("SELECT pg_terminate_backend(%d)" % pid)
        gone(steps.lab, pid)
    step.release()


def kill_backend(steps, step):
    """kill -9 of it: the server ends all sessions, and recovers."""
    pid = steps.proxy.backend_pid(step.pair)
    if pid:
        os.kill(pid, signal.SIGKILL)
        proc.wait_for(lambda: not proc.alive(pid), 10, "end of the backend")
    step.release()
    proc.wait_for(lambda: serves(steps.lab), 20, "recovery")


def serves(lab):
    """Whether the server can be asked."""
    try:
        return lab.cluster.value("SELECT 1") == "1"
    except proc.LabError:
        return False


def held(steps, number, act, function, *args):
    """Run a function; act when the message with this number is held. Its result."""
    step = steps.proxy.spring_at(number, "hold")
    work = Background(function, *args)
    if steps.proxy.sprung.wait(5):
        act(steps, step)
    steps.proxy.disarm()
    return work.result()


def killing(steps, name, measured, number, act):
    """One command; act when its message is held."""
    before, after, _ = measured
    what = "%s, %s at message %d" % (name, act.__name__, number)
    user, c = steps.session()
    reply = held(steps, number, act, STEPS[name], c)
    state = steps.state(user)
    if reply is None:
        true(act is kill_client, what + ": session cut off")
        true(state in (before, after), what + ": half done")
        c.close()
        c = steps.lab.imap(user, steps.node)
        c.ok("SELECT INBOX")
        if state == before:
            true(STEPS[name](c).ok, what + ": afterwards")
            true(steps.state(user) == after, what + ": afterwards")
        steps.done += 1
    else:
        steps.settled(c, STEPS[name], user, (reply, state, before, after, what))
    c.logout()


def killings(lab, act, share):
    """So many commands that write, with this at one of their messages."""
    steps = Steps(lab)
    for name in steps.some(WRITES, share):
        measured = steps.measure(name)
        for number in steps.some(range(1, measured[2] + 1), 1):
            killing(steps, name, measured, number, act)
    steps.fine()
    steps.told(act.__name__)


@only("pgbox")
@timeout(3000)
def test_imap_killed(lab):
    """kill -9 of the imap process at a message of each command."""
    killings(lab, kill_client, 6)


@only("pgbox")
@timeout(3000)
def test_backend_ended(lab):
    """pg_terminate_backend() at a message of each command."""
    killings(lab, end_backend, 6)


@only("pgbox")
@timeout(3000)
def test_backend_killed(lab):
    """kill -9 of a backend at a message of each command."""
    killings(lab, kill_backend, 2)


# -- deliveries ------------------------------------------------------------

class Mta:
    """Delivers a message as an MTA does: again, until each recipient was accepted."""

    def __init__(self, node, message, users):
        self.node = node
        self.message = message
        self.pending = list(users)
        self.tries = 0

    def attempt(self):
        """One connection, for those who are left. Whoever got 250 is done."""
        self.tries += 1
        client = LmtpClient(self.node.ports["lmtp"])
        try:
            for user, (code, text) in client.deliver(self.message, *self.pending).items():
                true(code == 250 or 400 <= code < 500, text)
                if code == 250:
                    self.pending.remove(user)
        finally:
            client.close()

    def patiently(self):
        """Attempts until all is done."""
        def accepted():
            try:
                self.attempt()
            except (ConnectionError, OSError):
                pass
            return not self.pending
        proc.wait_for(accepted, 20, "acceptance")


def amounts(lab, users):
    """How many messages each of them has, in INBOX."""
    return [lab.imap(user).ok("STATUS INBOX (MESSAGES)").one("STATUS")[1][1] for user in users]


def deliveries(lab, count, message, what, share, strike):
    """Deliveries to `count` users; strike(steps, mta, number) at messages. Once each."""
    steps = Steps(lab)
    total = None
    numbers = [0]
    while numbers:
        number = numbers.pop()
        users = [lab.user(steps.node, lab.node()) for _ in range(count)]
        mta = Mta(steps.node, queued(message), users)
        if total is None:
            step = steps.proxy.spring_at(0, "count")
            mta.attempt()
            total = step.seen
            steps.proxy.disarm()
            numbers = steps.some(range(1, total + 1), share)
        else:
            strike(steps, mta, number)
            steps.proxy.disarm()
            if mta.pending:
                mta.patiently()
            steps.done += 1
        eq(amounts(lab, users), [b"1"] * count, "%s at message %d, %d attempts" % (what, number, mta.tries))
    steps.fine()
    steps.told(what)


def attempt_quietly(mta):
    """An attempt whose connection may be lost."""
    try:
        mta.attempt()
    except (ConnectionError, OSError):
        pass


def faulty(action):
    """strike() for deliveries(): a fault of the link."""
    def strike(steps, mta, number):
        steps.proxy.spring_at(number, action)
        mta.attempt()
    return strike


def struck(act):
    """strike() for deliveries(): a process is killed."""
    def strike(steps, mta, number):
        held(steps, number, act, attempt_quietly, mta)
    return strike


@only("pgbox")
@timeout(3000)
def test_delivered_once(lab):
    """Deliveries to one user and two: the link fails, the MTA tries again, exactly once."""
    for count in (1, 2):
        for action in ("cut", "tear", "half", "delay"):
            deliveries(lab, count, PLAIN, action, 1, faulty(action))
    deliveries(lab, 1, BIG, "cut", 2, faulty("cut"))


@only("pgbox")
@timeout(3000)
def test_delivered_once_killed(lab):
    """Processes are killed, the MTA tries again: exactly once."""
    for count in (1, 2):
        deliveries(lab, count, PLAIN, "lmtp killed", 2, struck(kill_client))
        deliveries(lab, count, PLAIN, "backend ended", 1, struck(end_backend))
    deliveries(lab, 1, BIG, "lmtp killed", 2, struck(kill_client))
    deliveries(lab, 1, PLAIN, "backend killed", 1, struck(kill_backend))


@only("pgbox")
def test_reply_lost(lab):
    """The MTA's link is lost before the reply: it tries again, exactly once."""
    steps = Steps(lab)
    for count in (1, 2):
        users = [lab.user(steps.node, lab.node()) for _ in range(count)]
        mta = Mta(steps.node, queued(PLAIN), users)
        client = LmtpClient(steps.node.ports["lmtp"])
        client.leave_after_data(mta.message, *users)
        proc.wait_for(lambda: amounts(lab, users) == [b"1"] * count, 10, "delivery")
        mta.patiently()
        eq(amounts(lab, users), [b"1"] * count)
