"""Each spec is a test: its permutations go as expected/NAME.out has them."""

import os

from iso_run import EXPECTED, differences, drop_helpers, heads, load_helpers, names, read, run_spec
from tap import eq, true

ACCEPT = os.environ.get("PGBOX_TEST_ACCEPT", "")


def test_every_spec_is_whole(_lab):
    """It says what it is for, and has an expectation that ends without problems."""
    eq(sorted(path[:-4] for path in os.listdir(EXPECTED)), names(), "files in expected/ and in specs/")
    for name in names():
        said = heads(name)
        for key in ("Promise", "Elsewhere"):
            true(said.get(key), "%s.spec: no line \"# %s: ...\" in its head" % (name, key))
        text = read(os.path.join(EXPECTED, name + ".out"))
        permutations = text.count("starting permutation:")
        true(permutations > 0, "%s.spec has no permutation" % name)
        eq(text.count("\nproblem\n-------\n(0 rows)\n"), permutations,
           "%s.spec: each permutation ends with SELECT * FROM iso.problems, and finds none" % name)


def spec_test(name):
    """The test of a spec."""
    def run(lab):
        load_helpers(lab.cluster)
        try:
            got = run_spec(lab.cluster, name)
        finally:
            drop_helpers(lab.cluster)
        diff = differences(name, got)
        if diff and ACCEPT:
            with open(os.path.join(EXPECTED, name + ".out"), "w") as handle:
                handle.write(got)
            diff = "accepted; read it:\n" + diff
        if diff:
            raise AssertionError(diff)
    run.__name__ = "test_" + name.replace("-", "_")
    return run


for _name in names():
    globals()["test_" + _name.replace("-", "_")] = spec_test(_name)
