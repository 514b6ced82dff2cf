"""How soon a session in IDLE hears of what another one does."""

import random
import selectors
import time

from work import Kind, Work

TARGET = 0.050
PAUSE = 0.1
WAIT = 30


class Push(Work):
    """From the moment that a STORE is sent until the other session's FETCH is there."""

    def __init__(self, probes, name="push to a session in IDLE", sides=Work.sides):
        self.sides = sides
        self._name = name
        self._probes = probes
        self._rng = random.Random(1)
        self._sessions = {}

    def kinds(self):
        return {self._name + ", median": Kind(limit=TARGET), self._name + ", p95": Kind()}

    def node(self, side):
        """Where the session is that waits."""
        return side.node

    def setup(self, side):
        user = side.filled(1000)
        watcher = side.client(user, "INBOX", self.node(side))
        self._sessions[side.name] = (side.client(user, "INBOX"), watcher)

    def once(self, side):
        changer, watcher = self._sessions[side.name]
        watcher.idle()
        delays = sorted(self._probe(changer, watcher, turn) for turn in range(self._probes))
        watcher.done()
        return {self._name + ", median": delays[len(delays) // 2],
                self._name + ", p95": delays[int(len(delays) * 0.95)]}

    def _probe(self, changer, watcher, turn):
        # not in step with what does something now and then
        time.sleep(self._rng.uniform(0, PAUSE))
        begun = time.perf_counter()
        # probes are an even number: what is set is taken away again
        changer.begin("STORE %d %sFLAGS.SILENT (\\Flagged)" % (1 + turn // 2, "+-"[turn % 2]))
        heard = None
        with selectors.DefaultSelector() as selector:
            selector.register(watcher, selectors.EVENT_READ)
            selector.register(changer, selectors.EVENT_READ)
            while selector.get_map():
                ready = selector.select(WAIT)
                if not ready:
                    raise AssertionError("not heard within %d s" % WAIT)
                for key, _ in ready:
                    if key.fileobj is changer and changer.ended():
                        selector.unregister(changer)
                    elif key.fileobj is watcher and b" FETCH " in (watcher.poll(b"* ") or b""):
                        heard = time.perf_counter()
                        selector.unregister(watcher)
        return heard - begun

    def after(self, side):
        for client in self._sessions.pop(side.name):
            client.close()


class PushFar(Push):
    """The same on another node, which other storages don't have."""

    def __init__(self, probes):
        super().__init__(probes, "push to another node", ("pgbox",))

    def node(self, side):
        return side.other_node()


def works(scale):
    """All of this file."""
    probes = scale.pick(30, 100)
    return [Push(probes), PushFar(probes)]
