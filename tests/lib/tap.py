#!/usr/bin/python3
"""Runs the test functions of modules and reports in TAP.

    tap.py MODULE... [-- FILTER...]

A test is a function test_* with one argument, the Lab. Decorators below set
its time limit and the storages that it applies to. A filter is a part of
`module.test_name`. Exit status 1 if anything failed."""

import importlib
import os
import signal
import sys
import time
import traceback

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "integration"))

from lab import Lab  # noqa: E402

DEFAULT_TIMEOUT = 60
SLOW_FACTOR = 6


class Skip(Exception):
    """Raised by a test that can't run here; says why."""


class TestTimeout(BaseException):
    """The test's time limit has passed."""


def timeout(seconds):
    """Decorator: the test's time limit."""
    def mark(function):
        function.timeout = seconds
        return function
    return mark


def only(*storages):
    """Decorator: the test is about these storages alone."""
    def mark(function):
        function.storages = storages
        return function
    return mark


def eq(got, wanted, what=""):
    """Assert equality, and show both sides."""
    if got != wanted:
        if isinstance(got, dict) and isinstance(wanted, dict):
            got, wanted = only_different(got, wanted), only_different(wanted, got)
        raise AssertionError("%s\n   got: %s\nwanted: %s" % (what, show(got), show(wanted)))


def only_different(one, other):
    """The entries of a dictionary that the other doesn't have alike."""
    return {key: value for key, value in one.items()
            if key not in other or other[key] != value}


def has(part, whole, what=""):
    """Assert that part is in whole."""
    if part not in whole:
        raise AssertionError("%s\nno %r in %s" % (what, part, show(whole)))


def true(value, what):
    """Assert that value is true."""
    if not value:
        raise AssertionError(what)


def show(value, limit=1500):
    """repr() of bounded length."""
    text = repr(value)
    return text if len(text) <= limit else text[:limit] + "...[%d]" % len(text)


def collect(modules, filters):
    """[(name, function)] of all tests in the modules, in the order written."""
    tests = []
    for name in modules:
        module = importlib.import_module(name)
        found = [(key, value) for key, value in vars(module).items()
                 if key.startswith("test_") and callable(value)
                 and value.__module__ == name]
        found.sort(key=lambda item: item[1].__code__.co_firstlineno)
        tests += [("%s.%s" % (name, key), value) for key, value in found]
    if filters:
        tests = [test for test in tests if any(f in test[0] for f in filters)]
    return tests


def on_alarm(_signal, _frame):
    """Signal handler of the time limit."""
    raise TestTimeout()


def run_one(lab, function):
    """Run one test; return (status, diagnostics)."""
    storages = getattr(function, "storages", None)
    if storages and lab.storage not in storages:
        return "skip", "only for " + ", ".join(storages)
    seconds = getattr(function, "timeout", DEFAULT_TIMEOUT)
    if os.environ.get("PGBOX_TEST_VALGRIND"):
        seconds *= SLOW_FACTOR
    signal.signal(signal.SIGALRM, on_alarm)
    signal.alarm(seconds)
    try:
        lab.begin_test()
        function(lab)
        lab.end_test()
        return "ok", ""
    except Skip as why:
        return "skip", str(why)
    except TestTimeout:
        return "fail", "time limit of %d s\n%s" % (seconds, traceback.format_exc())
    except Exception:
        return "fail", traceback.format_exc()
    finally:
        signal.alarm(0)


def diagnose(lab, text):
    """Print why a test failed, with the dialogue and the servers' errors."""
    lines = text.splitlines()
    transcripts = list(enumerate(lab.transcripts(), 1))
    for number, transcript in transcripts[:8] + transcripts[8:][-8:]:
        lines.append("--- connection %d" % number)
        lines += transcript[-14:]
    for node in lab.nodes.values():
        bad = node.bad_log_lines()
        if bad:
            lines += ["--- log of %s" % node.name] + bad[-15:]
    for line in lines:
        for part in line.replace("\r", "\\r").split("\n"):
            print("# " + part.encode("utf-8", "backslashreplace").decode())


def clean_after_failure(lab):
    """Let go of the failed test's connections and log lines."""
    for node in lab.nodes.values():
        node.expect_log("")
    try:
        lab.end_test()
    except Exception as error:
        print("# clean-up: %s" % error)


def run_all(lab, tests):
    """Run the tests; return the number that failed."""
    failed = 0
    print("1..%d" % (len(tests) + 1), flush=True)
    for number, (name, function) in enumerate(tests, 1):
        started = time.monotonic()
        status, text = run_one(lab, function)
        spent = time.monotonic() - started
        if status == "fail":
            failed += 1
            print("not ok %d - %s # %.2f s" % (number, name, spent))
            diagnose(lab, text)
            clean_after_failure(lab)
        elif status == "skip":
            print("ok %d - %s # SKIP %s" % (number, name, text))
        else:
            print("ok %d - %s # %.2f s" % (number, name, spent))
        sys.stdout.flush()
    return failed


def finish(lab, number, failed):
    """Stop the servers: the last test is that nothing complained."""
    keep = bool(os.environ.get("PGBOX_TEST_KEEP")) or (
        failed and bool(os.environ.get("PGBOX_TEST_KEEP_FAILED")))
    try:
        reports = lab.close(keep)
    except Exception:
        reports = {"close": traceback.format_exc()}
    if keep:
        print("# kept: %s" % lab.dir)
    print("%s %d - servers stop; memory and database are clean" % (
        "not ok" if reports else "ok", number))
    for name, text in reports.items():
        print("# --- %s" % name)
        for line in text.splitlines()[:80]:
            print("# " + line)
    return failed + (1 if reports else 0)


def main(argv):
    """Entry point."""
    filters = []
    if "--" in argv:
        cut = argv.index("--")
        argv, filters = argv[:cut], argv[cut + 1:]
    tests = collect(argv, filters)
    if not tests:
        sys.exit("no such test")
    lab = Lab()
    # A terminated run must stop its servers too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    failed = 0
    try:
        failed = run_all(lab, tests)
    finally:
        failed = finish(lab, len(tests) + 1, failed)
    return 1 if failed else 0


if __name__ == "__main__":
    # Test modules import this file by its name: let them find the same classes.
    sys.modules["tap"] = sys.modules["__main__"]
    sys.exit(main(sys.argv[1:]))
