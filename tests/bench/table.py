"""The table that is printed."""

COLUMNS = ("pgbox", "sdbox", "maildir", "libpq")
NAME = 44
# what one of a unit is, in what the figures are in: seconds, bytes
UNITS = {"ms": 0.001, "MB": 1e6, "1/s": 1, "B/B": 1}


def head():
    """The first line."""
    return "%-*s %9s %9s %9s %9s   %-22s %s" % ((NAME, "ms") + COLUMNS + ("ratio (min - max)", "target"))


def line(row):
    """The line of a figure."""
    name = row["name"] + ("" if row["unit"] == "ms" else ", " + row["unit"])
    cells = [number(row["median"].get(column), row["unit"]) for column in COLUMNS]
    return "%-*s %9s %9s %9s %9s   %-22s %s" % ((NAME, name) + tuple(cells) + (ratio(row), target(row)))


def number(figure, unit):
    """Three digits that count."""
    if figure is None:
        return "-"
    figure /= UNITS[unit]
    return "%.2f" % figure if figure < 10 else "%.1f" % figure if figure < 100 else "%.0f" % figure


def ratio(row):
    """Median, and in brackets the extremes."""
    if row["ratio"] is None:
        return "-"
    return "%.2f (%.2f - %.2f)" % (row["ratio"], row["ratio_min"], row["ratio_max"])


def target(row):
    """The targets, and whether one is missed."""
    parts = []
    if row["target"]["ratio"] is not None:
        parts.append("%.2f%s" % (row["target"]["ratio"], "" if row["base"] == "sdbox" else " of " + row["base"]))
    for what, sign in (("limit", ""), ("above", "+")):
        if row["target"][what] is not None:
            unit = "" if row["unit"] == "B/B" else " " + row["unit"]
            parts.append("%s%g%s" % (sign, row["target"][what] / UNITS[row["unit"]], unit))
    return ", ".join(parts) + (" missed" if row["missed"] else "")
