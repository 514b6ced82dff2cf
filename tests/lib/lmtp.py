"""A minimal LMTP client: one answer per recipient."""

import socket


class LmtpClient:
    """LHLO at once; deliver() returns the server's answers."""

    def __init__(self, port, host="127.0.0.1", timeout=30):
        self._sock = socket.create_connection((host, port), timeout)
        self._file = self._sock.makefile("rb")
        self.transcript = []
        self._answer()
        self.command(b"LHLO client.example.org")

    def command(self, line):
        """Send one line; return (code, text)."""
        self.transcript.append("> " + line.decode("utf-8", "replace"))
        self._sock.sendall(line + b"\r\n")
        return self._answer()

    def _answer(self):
        lines = []
        while True:
            line = self._file.readline()
            if not line:
                raise ConnectionError("LMTP connection closed")
            lines.append(line.decode("utf-8", "replace").rstrip())
            self.transcript.append("< " + lines[-1])
            if line[3:4] != b"-":
                return int(line[:3]), " ".join(lines)

    def deliver(self, message, *recipients, sender="sender@example.net"):
        """Deliver to all recipients: {recipient: (code, text)}."""
        self.command(b"MAIL FROM:<%s>" % sender.encode())
        answers = {}
        accepted = []
        for recipient in recipients:
            answers[recipient] = self.command(b"RCPT TO:<%s>" % recipient.encode())
            if answers[recipient][0] == 250:
                accepted.append(recipient)
        if accepted:
            self._data(message, accepted, answers)
        else:
            self.command(b"RSET")
        return answers

    def _data(self, message, accepted, answers):
        code, text = self.command(b"DATA")
        if code != 354:
            answers.update({recipient: (code, text) for recipient in accepted})
            return
        self._sock.sendall(dot_stuffed(message))
        for recipient in accepted:
            answers[recipient] = self._answer()

    def leave_after_data(self, message, *recipients, sender="sender@example.net"):
        """Send it all and close without a look at the last answers."""
        self.command(b"MAIL FROM:<%s>" % sender.encode())
        for recipient in recipients:
            self.command(b"RCPT TO:<%s>" % recipient.encode())
        self.command(b"DATA")
        self._sock.sendall(dot_stuffed(message))
        self._file.close()
        self._sock.close()

    def close(self):
        """QUIT and close."""
        try:
            self.command(b"QUIT")
        except OSError:
            pass
        self._file.close()
        self._sock.close()


def dot_stuffed(message):
    """A message as DATA carries it, with the final dot."""
    if message.startswith(b"."):
        message = b"." + message
    message = message.replace(b"\r\n.", b"\r\n..")
    if not message.endswith(b"\r\n"):
        message += b"\r\n"
    return message + b".\r\n"
