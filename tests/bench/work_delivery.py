"""LMTP: sessions at the same time, and many recipients."""

import threading
import time

from corpus import Corpus
from work import Work

MAILS = 64


class Delivery(Work):
    """So many mails, spread over so many sessions, each to so many recipients."""

    def __init__(self, sessions, recipients, target):
        self.name = "delivery, %d session%s, %d recipient%s" % (
            sessions, "s" if sessions > 1 else "", recipients, "s" if recipients > 1 else "")
        self.target = target
        self._count = sessions
        self._recipients = recipients
        self._mails = MAILS if recipients == 1 else MAILS // 4
        self._corpus = Corpus()
        self._next = 1
        self._users = {}
        self._sessions = {}
        self._batches = {}

    def setup(self, side):
        self._users[side.name] = [side.user() for _ in range(max(self._count, self._recipients))]
        self._sessions[side.name] = [side.node.lmtp() for _ in range(self._count)]

    def before(self, side):
        # each side gets the same mails, and no mail twice
        done = self._batches.setdefault(side.name, 0)
        self._batches[side.name] = done + 1
        first = 1 + done * self._mails + hash_of(self.name) * 1000000
        self._batch = list(self._corpus.messages(self._mails, first))

    def _deliver(self, side, number):
        users = self._users[side.name]
        session = self._sessions[side.name][number]
        rcpts = users[:self._recipients] if self._recipients > 1 else [users[number]]
        for message in self._batch[number::self._count]:
            answers = session.deliver(message, *rcpts)
            if any(code != 250 for code, _ in answers.values()):
                raise AssertionError("not delivered: %r" % answers)

    def once(self, side):
        threads = [threading.Thread(target=self._deliver, args=(side, number)) for number in range(self._count)]
        begun = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.perf_counter() - begun

    def after(self, side):
        for session in self._sessions.pop(side.name):
            session.close()


def hash_of(text):
    """A small number, the same in each run."""
    return sum(text.encode()) % 997


def works(_scale):
    """All of this file."""
    return [Delivery(1, 1, 0.8), Delivery(4, 1, None), Delivery(16, 1, 0.5), Delivery(1, 10, 0.3)]
