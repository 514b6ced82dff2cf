"""The table that is printed."""

COLUMNS = ("pgbox", "sdbox", "maildir")
NAME = 40


def head():
    """The first line."""
    return "%-*s %10s %10s %10s   %-22s %-7s" % ((NAME, "ms") + COLUMNS + ("ratio (min - max)", "target"))


def line(row):
    """A workload's line."""
    seconds = dict(row["seconds"])
    # another base stands in the place of sdbox, and the name says so
    if row["base"] not in COLUMNS:
        seconds["sdbox"] = seconds.get(row["base"])
    cells = [number(seconds.get(side)) for side in COLUMNS]
    return "%-*s %10s %10s %10s   %-22s %-7s" % ((NAME, row["name"]) + tuple(cells) + (ratio(row), target(row)))


def number(seconds):
    """Milliseconds with three digits that count."""
    if seconds is None:
        return "-"
    msecs = seconds * 1000
    return "%.2f" % msecs if msecs < 10 else "%.1f" % msecs if msecs < 100 else "%.0f" % msecs


def ratio(row):
    """Median, and in brackets the extremes."""
    if row["ratio"] is None:
        return "-"
    return "%.2f (%.2f - %.2f)" % (row["ratio"], row["ratio_min"], row["ratio_max"])


def target(row):
    """The target, and whether it is missed."""
    if row["target"] is None:
        return ""
    missed = row["ratio"] is not None and row["ratio"] > row["target"]
    return "%.2f%s" % (row["target"], " missed" if missed else "")
