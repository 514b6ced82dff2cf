"""A minimal ManageSieve client."""

import base64
import socket


class SieveClient:
    """Logs in by PLAIN; each command returns (ok, lines)."""

    def __init__(self, port, user, password="pw", host="127.0.0.1", timeout=30):
        self._sock = socket.create_connection((host, port), timeout)
        self._file = self._sock.makefile("rb")
        self.capabilities = self._answer()[1]
        token = base64.b64encode(b"\0%s\0%s" % (user.encode(), password.encode()))
        ok, lines = self.command(b'AUTHENTICATE "PLAIN" "%s"' % token)
        if not ok:
            raise AssertionError("ManageSieve login: %r" % lines)

    def command(self, line):
        """Send one command; return (whether OK, the lines before and with it)."""
        self._sock.sendall(line + b"\r\n")
        return self._answer()

    def _answer(self):
        lines = []
        while True:
            line = self._file.readline()
            if not line:
                raise ConnectionError("ManageSieve connection closed")
            lines.append(line.rstrip(b"\r\n"))
            if line[:1] == b"{":
                lines.append(self._file.read(int(line[1:line.index(b"}")])))
            elif line.split(b" ")[0].strip() in (b"OK", b"NO", b"BYE"):
                return line.startswith(b"OK"), lines

    def put(self, name, script):
        """Store a script."""
        return self.command(b'PUTSCRIPT "%s" {%d+}\r\n%s' % (name, len(script), script))

    def activate(self, name):
        """Make a script the active one."""
        return self.command(b'SETACTIVE "%s"' % name)

    def close(self):
        """LOGOUT and close."""
        self.command(b"LOGOUT")
        self._file.close()
        self._sock.close()
