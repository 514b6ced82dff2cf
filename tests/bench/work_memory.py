"""Memory of an imap process and of its backend, at rest and while it sends large mails."""

import threading
import time

import proc
from work import Kind, Work
from work_body import large_mail

COUNT, SESSIONS = 1000, 8
LARGE = (20 << 20, 5 << 20, 5 << 20, 5 << 20)
ABOVE = 1.5e6
INTERVAL = 0.002


class Sampler:
    """The most that processes have of something until they are looked at again."""

    def __init__(self, **wanted):
        self.most = dict.fromkeys(wanted, 0)
        self._wanted = wanted
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        while not self._end.is_set():
            for name, (pid, what) in self._wanted.items():
                self.most[name] = max(self.most[name], proc.mapped(pid)[what])
            time.sleep(INTERVAL)

    def stop(self):
        """The end; returns what was most by name."""
        self._end.set()
        self._thread.join()
        return self.most


class Memory(Work):
    """Processes that serve one session each, and nothing else before.

    imap: what is its own and its part of what processes share (PSS), the mean
    of some sessions. Backend: what is its own (PSS of anonymous memory), for
    shared_buffers is everybody's."""

    sides = ("pgbox+single", "sdbox+single", "maildir+single")
    rounds = 3

    def kinds(self):
        return {"memory of imap, at rest": Kind("MB", above=ABOVE), "memory of imap, large mails": Kind("MB"),
                "memory of its backend, at rest": Kind("MB"), "memory of its backend, large mails": Kind("MB")}

    def setup(self, side):
        side.known["heavy"] = user = side.user()
        side.fill(user, "INBOX", [large_mail(size) for size in LARGE])
        side.filled(COUNT)

    def once(self, side):
        user = side.filled(COUNT)
        clients = [side.client(user, "INBOX") for _ in range(SESSIONS)]
        pids = side.node.imap_pids(user)
        found = {"memory of imap, at rest": sum(proc.mapped(pid)["Pss"] for pid in pids) / len(pids)}
        for client in clients:
            client.close()
        found.update(self._large(side))
        return found

    @staticmethod
    def _large(side):
        before = side.lab.cluster.backend_pids() if side.is_pgbox else ()
        client = side.client(side.known["heavy"], "INBOX")
        wanted = {"memory of imap, large mails": (side.node.imap_pids(side.known["heavy"])[0], "Pss")}
        found = {}
        if side.is_pgbox:
            pid, = side.lab.cluster.backend_pids() - before
            wanted["memory of its backend, large mails"] = (int(pid), "Pss_Anon")
            found["memory of its backend, at rest"] = proc.mapped(int(pid))["Pss_Anon"]
        sampler = Sampler(**wanted)
        client.command("FETCH 1:* BODY.PEEK[]")
        found.update(sampler.stop())
        client.close()
        return found


def works(_scale):
    """All of this file."""
    return [Memory()]
