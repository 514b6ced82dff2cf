"""A wall clock that a test can set, for processes that preload its library."""

import os

import proc

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "clock-shim.c")


class Clock:
    """Compiled for one run, as the file that says how far it is off is part of it."""

    def __init__(self, folder):
        self._offset = os.path.join(folder, "offset")
        self.library = os.path.join(folder, "clock-shim.so")
        os.makedirs(folder)
        os.chmod(folder, 0o755)
        self.set(0)
        proc.run(["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", '-DCLOCK_OFFSET_FILE="%s"' % self._offset,
                  "-o", self.library, SOURCE, "-ldl"])

    def set(self, seconds):
        """From now on the clock is wrong by so many seconds."""
        new = self._offset + ".new"
        with open(new, "w") as handle:
            handle.write("%d\n" % seconds)
        os.chmod(new, 0o644)
        os.rename(new, self._offset)
