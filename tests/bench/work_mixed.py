"""Fifty clients that do what clients do, all at the same time."""

import random
import selectors
import time

from corpus import Corpus
from work import Kind, Work

CLIENTS, USERS, MAILS = 50, 10, 300
NAME = "%d clients" % CLIENTS
STATUS = "STATUS %s (MESSAGES UNSEEN UIDNEXT HIGHESTMODSEQ)"
# how often in a hundred; %d is one of the mails, %s one of the folders
MIX = (
    (22, "NOOP"), (14, STATUS), (10, "SELECT INBOX"), (4, 'LIST "" *'),
    (14, "FETCH %d:* (UID FLAGS ENVELOPE RFC822.SIZE)"), (8, "FETCH 1:* FLAGS"), (12, "FETCH %d BODY.PEEK[]"),
    (10, "STORE %d FLAGS.SILENT (\\Seen)"), (2, "STORE %d FLAGS.SILENT ()"), (1, "COPY %d other"), (1, "SEARCH UNSEEN"),
    (2, "APPEND"))
CAPPED = 50000


class Mixed(Work):
    """No pause between the commands of a client, so that the server is busy all the time."""

    def __init__(self, seconds, rounds):
        self.rounds = rounds
        self._seconds = seconds
        self._clients = {}
        self._mails = list(Corpus(body_max=CAPPED).messages(50, 5000000))

    def kinds(self):
        return {NAME + ", commands": Kind("1/s"), NAME + ", median": Kind(), NAME + ", p99": Kind()}

    def setup(self, side):
        users = [side.user() for _ in range(USERS)]
        for user in users:
            client = side.client(user)
            client.command("CREATE other")
            client.close()
            side.fill(user, "INBOX", Corpus(body_max=CAPPED).messages(MAILS))
        side.settle()
        self._clients[side.name] = [side.client(users[number % USERS], "INBOX") for number in range(CLIENTS)]

    def once(self, side):
        clients = self._clients[side.name]
        # the same commands on each side
        rngs = [random.Random(number) for number in range(CLIENTS)]
        took = []
        begun = time.perf_counter()
        with selectors.DefaultSelector() as selector:
            for client, rng in zip(clients, rngs):
                selector.register(client, selectors.EVENT_READ, [rng, time.perf_counter()])
                self._begin(client, rng)
            while selector.get_map():
                for key, _ in selector.select():
                    if key.fileobj.ended():
                        took.append(time.perf_counter() - key.data[1])
                        self._next(selector, key, begun + self._seconds)
        took.sort()
        return {NAME + ", commands": len(took) / (time.perf_counter() - begun),
                NAME + ", median": took[len(took) // 2], NAME + ", p99": took[len(took) * 99 // 100]}

    def _next(self, selector, key, end):
        key.data[1] = time.perf_counter()
        if key.data[1] < end:
            self._begin(key.fileobj, key.data[0])
        else:
            selector.unregister(key.fileobj)

    def _begin(self, client, rng):
        command = rng.choices([command for _, command in MIX], [weight for weight, _ in MIX])[0]
        if command == "APPEND":
            mail = rng.choice(self._mails)
            client.begin("APPEND other {%d+}\r\n" % len(mail), mail)
        elif command == STATUS:
            client.begin(command % rng.choice(("INBOX", "other")))
        elif command.startswith("FETCH %d:*"):
            client.begin(command % rng.randint(MAILS - 30, MAILS))
        else:
            client.begin(command.replace("%d", str(rng.randint(1, MAILS))))

    def after(self, side):
        for client in self._clients.pop(side.name):
            client.close()


def works(scale):
    """All of this file."""
    return [Mixed(scale.pick(10, 30), scale.pick(2, 3))]
