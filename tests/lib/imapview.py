"""A session's view of its selected mailbox, checked against what it is told.

Follows EXISTS, EXPUNGE, VANISHED and FETCH in the order in which they come and
raises ViewError where the server breaks a promise: a count that shrinks by
itself, an EXPUNGE while sequence numbers are in use, a UID or a modseq that
changes or goes backwards."""

from imapclient import flags_of, parse_set

# While one of these runs the client counts on its sequence numbers (RFC 3501
# 7.4.1); with UID in front they may change.
NUMBERED = ("FETCH", "STORE", "SEARCH", "SORT", "THREAD")


class ViewError(Exception):
    """The server contradicted itself."""


class View:
    """UIDs by sequence number, None where not told yet."""

    def __init__(self, count):
        self.uids = [None] * count
        self.flags = {}
        self.modseqs = {}

    def __len__(self):
        return len(self.uids)

    def known(self):
        """The UIDs that were told, ascending."""
        return [uid for uid in self.uids if uid is not None]

    def apply(self, untagged, command=""):
        """Take in one untagged response, sent while the command ran."""
        if item_is(untagged, "EXISTS"):
            self._exists(untagged.number)
        elif item_is(untagged, "EXPUNGE"):
            self._no_renumbering(command)
            self._expunge(untagged.number)
        elif untagged.name == "VANISHED" and untagged.data[0] != [b"EARLIER"]:
            self._no_renumbering(command)
            self._vanished(parse_set(untagged.data[-1]))
        elif item_is(untagged, "FETCH"):
            self._fetch(untagged.number, untagged.data[0])

    @staticmethod
    def _no_renumbering(command):
        if command.split(" ")[0] in NUMBERED:
            raise ViewError("messages disappear during " + command)

    def _exists(self, count):
        if count < len(self.uids):
            raise ViewError("EXISTS %d, there were %d" % (count, len(self.uids)))
        self.uids += [None] * (count - len(self.uids))

    def _expunge(self, number):
        if not 1 <= number <= len(self.uids):
            raise ViewError("EXPUNGE %d of %d" % (number, len(self.uids)))
        self._forget(self.uids.pop(number - 1))

    def _vanished(self, uids):
        for uid in uids:
            self.uids.pop(self._place_of(uid))
            self._forget(uid)

    def _place_of(self, uid):
        """The index of a UID, or of a message not told yet that may have it."""
        if uid in self.uids:
            return self.uids.index(uid)
        place = None
        for index, other in enumerate(self.uids):
            if other is None:
                place = index if place is None else place
            elif other > uid:
                break
            else:
                place = None
        if place is None:
            raise ViewError("VANISHED %d isn't there" % uid)
        return place

    def _forget(self, uid):
        self.flags.pop(uid, None)
        self.modseqs.pop(uid, None)

    def _fetch(self, number, pairs):
        if not 1 <= number <= len(self.uids):
            raise ViewError("FETCH %d of %d" % (number, len(self.uids)))
        values = {pairs[i].upper(): pairs[i + 1] for i in range(0, len(pairs), 2)
                  if isinstance(pairs[i], bytes)}
        if b"UID" in values:
            self._is(number, int(values[b"UID"]))
        uid = self.uids[number - 1]
        if uid is None:
            return
        if b"FLAGS" in values:
            self.flags[uid] = flags_of(values[b"FLAGS"]) - {"\\Recent"}
        if b"MODSEQ" in values:
            modseq = int(values[b"MODSEQ"][0])
            if modseq < self.modseqs.get(uid, 0):
                raise ViewError("modseq of %d from %d to %d" % (
                    uid, self.modseqs[uid], modseq))
            self.modseqs[uid] = modseq

    def _is(self, number, uid):
        """Message `number` has that UID: so it was before, and between its neighbours."""
        before = self.uids[number - 1]
        if before not in (None, uid):
            raise ViewError("%d was UID %d, is UID %d" % (number, before, uid))
        if before is None:
            lower = [u for u in self.uids[:number - 1] if u is not None]
            upper = [u for u in self.uids[number:] if u is not None]
            if (lower and lower[-1] >= uid) or (upper and upper[0] <= uid):
                raise ViewError("%d is UID %d, out of order" % (number, uid))
            self.uids[number - 1] = uid


def item_is(untagged, name):
    """Whether it is `* n NAME`."""
    return untagged.number is not None and untagged.name == name
