"""A workload, and what is made of its times."""

import statistics


class Work:
    """Something whose time is compared.

    once(side) does it and returns the seconds; what must be there is made by
    setup(side) at first and before(side) each time, which cost nothing. Where
    target is given, pgbox's times divided by those of the side that base names
    are to have a median of at most that."""

    name = ""
    target = None
    base = "sdbox"
    sides = ("pgbox", "sdbox", "maildir")
    # how often in one round; the round's figure is the median
    repeat = 1

    def setup(self, side):
        """Once for each side."""

    def before(self, side):
        """Before each measurement."""

    def once(self, side):
        """The measurement: seconds."""
        raise NotImplementedError

    def after(self, side):
        """When the side has been measured for the last time."""

    def round(self, side):
        """One round's figure."""
        times = []
        for _ in range(self.repeat):
            self.before(side)
            times.append(self.once(side))
        return statistics.median(times)


class Warm(Work):
    """One command, again and again in a session that has the mailbox open."""

    repeat = 15
    count = 10000

    def __init__(self):
        self._sessions = {}

    def setup(self, side):
        client = side.client(side.filled(self.count), "INBOX")
        self._sessions[side.name] = client
        self.once(side)

    def session(self, side):
        """The session of a side."""
        return self._sessions[side.name]

    def after(self, side):
        self._sessions.pop(side.name).close()


class Figures:
    """The times of one workload: by side, one for each round."""

    def __init__(self, work):
        self.work = work
        self.times = {}

    def add(self, side, seconds):
        """One round of one side."""
        self.times.setdefault(side, []).append(seconds)

    def median(self, side):
        """Median of a side, or None."""
        times = self.times.get(side)
        return statistics.median(times) if times else None

    def ratios(self, base):
        """pgbox to another side, round by round."""
        return [ours / theirs for ours, theirs in zip(self.times.get("pgbox", ()), self.times.get(base, ()))]

    def row(self):
        """What is printed and written to the JSON file."""
        base = self.work.base
        ratios = self.ratios(base)
        return {
            "name": self.work.name, "base": base, "target": self.work.target,
            "seconds": {side: self.median(side) for side in self.times},
            "all": self.times,
            "ratio": statistics.median(ratios) if ratios else None,
            "ratio_min": min(ratios, default=None), "ratio_max": max(ratios, default=None),
        }
