"""Configuration that is shipped in share/, with its @WORDS@ filled in."""

import os

import proc


def template(name, **values):
    """The text of a file of share/."""
    with open(os.path.join(proc.ROOT, "share", name)) as handle:
        text = handle.read()
    for key, value in values.items():
        text = text.replace("@%s@" % key, value)
    return text
