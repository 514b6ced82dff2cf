"""A workload, and what is made of its figures."""

import statistics
from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """How much is measured: all of it, or what takes minutes."""

    quick: bool

    @property
    def sizes(self):
        """Messages in a large mailbox."""
        return (10000,) if self.quick else (10000, 100000)

    def pick(self, quick, full):
        """One of two numbers."""
        return quick if self.quick else full


@dataclass(frozen=True)
class Kind:
    """What a figure is, and what pgbox's is to be at most.

    ratio: so many times the base's, the median of the rounds; limit: so much;
    above: so much more than the base's. base is a storage, or libpq."""

    unit: str = "ms"
    ratio: float = None
    limit: float = None
    above: float = None
    base: str = "sdbox"


class Work:
    """Something whose time is compared.

    once(side) does it and returns the seconds; what must be there is made by
    setup(side) at first and before(side) each time, which cost nothing. Where
    target is given, pgbox's times divided by those of the side that base names
    are to have a median of at most that; limit is in seconds.

    What has other figures than one time returns a dictionary of them, whose
    keys are those of kinds()."""

    name = ""
    target = None
    limit = None
    base = "sdbox"
    sides = ("pgbox", "sdbox", "maildir")
    # how often in one round; the round's figure is the median
    repeat = 1
    # no more than so many, of what is slow or doesn't vary
    rounds = None

    def kinds(self):
        """What is measured: {name: Kind}."""
        return {self.name: Kind(ratio=self.target, limit=self.limit, base=self.base)}

    def setup(self, side):
        """Once for each side."""

    def before(self, side):
        """Before each measurement."""

    def once(self, side):
        """The measurement: seconds, or {name: figure}."""
        raise NotImplementedError

    def after(self, side):
        """When the side has been measured for the last time."""

    def round(self, side):
        """One round's figures: {name: figure}."""
        found = []
        for _ in range(self.repeat):
            self.before(side)
            figures = self.once(side)
            found.append(figures if isinstance(figures, dict) else {self.name: figures})
        return {name: statistics.median(figures[name] for figures in found) for name in found[0]}


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
    """The figures of one workload: by name and storage, one for each round."""

    def __init__(self, work):
        self._work = work
        self._found = {name: {} for name in work.kinds()}

    def add(self, side, figures):
        """One round of one side."""
        for name, figure in figures.items():
            self._found[name].setdefault(side.storage, []).append(figure)

    def rows(self):
        """What is printed and written to the JSON file."""
        return [row(name, kind, self._found[name]) for name, kind in self._work.kinds().items() if self._found[name]]


def row(name, kind, found):
    """One figure of all sides; found has those of the rounds by storage."""
    pairs = list(zip(found.get("pgbox", ()), found.get(kind.base, ())))
    ratios = [ours / theirs for ours, theirs in pairs if theirs]
    medians = {storage: statistics.median(figures) for storage, figures in found.items()}
    result = {
        "name": name, "unit": kind.unit, "base": kind.base, "median": medians, "all": found,
        "target": {"ratio": kind.ratio, "limit": kind.limit, "above": kind.above},
        "ratio": statistics.median(ratios) if ratios else None,
        "ratio_min": min(ratios, default=None), "ratio_max": max(ratios, default=None),
        "above": statistics.median(ours - theirs for ours, theirs in pairs) if pairs else None,
    }
    result["missed"] = missed(result)
    return result


def missed(result):
    """Whether a target is missed."""
    target = result["target"]
    reached = {"ratio": result["ratio"], "limit": result["median"].get("pgbox"), "above": result["above"]}
    return any(target[what] is not None and reached[what] is not None and reached[what] > target[what] for what in target)
