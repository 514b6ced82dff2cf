"""How often pgbox asks PostgreSQL: a node behind a proxy that counts."""

import os

from pgproxy import Proxy

# a session that is counted doesn't connect anew meanwhile
LONG = """
plugin {
  pgbox_idle_timeout = 300 secs
}
"""


class Meter:
    """The named node of pgbox behind its counting proxy, made at first use."""

    def __init__(self, lab, name="metered", plugins="", extra=""):
        self.lab = lab
        if name not in lab.nodes:
            proxy = Proxy(os.path.join(lab.dir, name + "-proxy"), lab.cluster.socket)
            way = lab.way_by(name, proxy.folder, "")
            lab.node(name, storage="pgbox", plugins=plugins, extra=LONG + extra, **way).proxy = proxy
        self.node = lab.nodes[name]
        self.proxy = self.node.proxy

    def client(self, user):
        """A session on the node, closed after the test."""
        return self.lab.imap(user, self.node)

    def count(self, action):
        """(round trips, statements) that the action cost.

        Round trips are ReadyForQuery answers, statements those of
        pg_stat_statements."""
        self.lab.cluster.reset_statements()
        self.proxy.reset()
        action()
        trips = self.proxy.round_trips
        return trips, sum(self.lab.cluster.statements().values())
