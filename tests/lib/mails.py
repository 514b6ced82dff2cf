"""Messages for the tests, all made by us, and the ways to store many."""

import base64
import itertools
import random

from imapclient import Lit

PLAIN = (b"Return-Path: <anna@example.org>\r\n"
         b"From: Anna Berg <anna@example.org>\r\n"
         b"To: Carl <carl@example.org>, \"D. E.\" <de@example.net>\r\n"
         b"Cc: list@example.org\r\n"
         b"Subject: Lunch on Friday\r\n"
         b"Date: Mon, 2 Jan 2023 10:00:00 +0100\r\n"
         b"Message-ID: <one@example.org>\r\n"
         b"X-Colour: green\r\n"
         b"\r\n"
         b"Shall we meet at noon?\r\nThe usual place.\r\n")

MIXED = (b"From: =?utf-8?q?J=C3=BCrgen?= <j@example.org>\r\n"
         b"To: carl@example.org\r\n"
         b"Subject: =?utf-8?b?w5xiZXJ3ZWlzdW5n?=\r\n"
         b"Date: Tue, 3 Jan 2023 11:00:00 +0000\r\n"
         b"Message-ID: <two@example.org>\r\n"
         b"In-Reply-To: <one@example.org>\r\n"
         b"References: <one@example.org>\r\n"
         b"MIME-Version: 1.0\r\n"
         b"Content-Type: multipart/mixed; boundary=\"outer\"\r\n"
         b"\r\n"
         b"preamble\r\n"
         b"--outer\r\n"
         b"Content-Type: multipart/alternative; boundary=inner\r\n"
         b"\r\n"
         b"--inner\r\n"
         b"Content-Type: text/plain; charset=utf-8\r\n"
         b"Content-Transfer-Encoding: quoted-printable\r\n"
         b"\r\n"
         b"Gr=C3=BC=C3=9Fe aus K=C3=B6ln\r\n"
         b"--inner\r\n"
         b"Content-Type: text/html; charset=utf-8\r\n"
         b"\r\n"
         b"<p>Gr&uuml;&szlig;e</p>\r\n"
         b"--inner--\r\n"
         b"--outer\r\n"
         b"Content-Type: application/octet-stream; name=\"a.bin\"\r\n"
         b"Content-Transfer-Encoding: base64\r\n"
         b"Content-Disposition: attachment; filename=\"a.bin\"\r\n"
         b"Content-ID: <part@example.org>\r\n"
         b"\r\n"
         b"AAECAwQFBgcICQ==\r\n"
         b"--outer\r\n"
         b"Content-Type: message/rfc822\r\n"
         b"\r\n"
         b"From: inner@example.org\r\n"
         b"Subject: nested\r\n"
         b"Content-Type: multipart/mixed; boundary=deep\r\n"
         b"\r\n"
         b"--deep\r\n"
         b"\r\n"
         b"first nested\r\n"
         b"--deep\r\n"
         b"Content-Type: text/x-two\r\n"
         b"\r\n"
         b"second nested\r\n"
         b"--deep--\r\n"
         b"--outer--\r\n"
         b"epilogue\r\n")



def base64_lines(size, seed, line=76, end=b"\r\n"):
    """Base64 of so many random bytes, in lines."""
    text = base64.b64encode(random.Random(seed).randbytes(size))
    return b"".join(text[at:at + line] + end for at in range(0, len(text), line))


def attachments(seed, end=b"\r\n"):
    """A mail of half a megabyte whose attachments are base64 of all kinds, also broken."""
    broken = base64_lines(60000, seed + 3, 76, end)
    parts = [base64_lines(150000, seed, 76, end), base64_lines(40000, seed + 1, 64, end), base64_lines(90001, seed + 2, 72, end),
             broken[:20000] + b" " + broken[20001:40000] + b"!-=" + broken[40003:], base64_lines(700, seed + 4, 76, end)]
    text = (b"From: a@example.org\nSubject: attachments\nMIME-Version: 1.0\n"
            b"Content-Type: multipart/mixed; boundary=cut\n\nseed %d\n" % seed)
    head = b"--cut\nContent-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n\n"
    return (text.replace(b"\n", end) + b"".join(head.replace(b"\n", end) + part for part in parts) + b"--cut--" + end)


QUEUE_IDS = itertools.count(1)


def queued(message):
    """The message as an MTA queues it: with a line that no other message has."""
    return (b"Received: from client.example.org (client.example.org [192.0.2.7])\r\n"
            b"\tby mx.example.org (Postfix) with ESMTPS id 4Sx%06d\r\n"
            b"\tfor <carl@example.org>; Mon, 2 Jan 2023 10:00:01 +0100 (CET)\r\n" % next(QUEUE_IDS)) + message


def simple(number, subject=None, body=None, sender=None):
    """A small message that differs from all other numbers."""
    subject = subject if subject is not None else "message %d" % number
    body = body if body is not None else "Body of message %d.\r\n" % number
    text = ("From: %s\r\nTo: b@example.org\r\nSubject: %s\r\n"
            "Date: %s\r\nMessage-ID: <m%d@example.org>\r\n\r\n%s"
            % (sender or "a%d@example.org" % (number % 7), subject,
               "Mon, %d Jan 2024 12:00:%02d +0000" % (1 + number % 28, number % 60),
               number, body))
    return text.encode()


def multiappend(client, mailbox, messages, flags=""):
    """Store the messages by one MULTIAPPEND; return the Reply."""
    pieces = ["APPEND ", mailbox]
    for message in messages:
        pieces += [" (%s) " % flags if flags else " ", Lit(message)]
    return client.ok(*pieces, timeout=120)


def fill(client, mailbox, count, first=1):
    """Store count simple messages, in batches."""
    numbers = list(range(first, first + count))
    for start in range(0, count, 500):
        multiappend(client, mailbox, [simple(n) for n in numbers[start:start + 500]])


def random_bytes(seed, size):
    """Incompressible bytes, the same ones for the same seed."""
    return random.Random(seed).randbytes(size)


def nasty(seed):
    """A message of hostile shape: a mutation of a skeleton, by a fixed seed.

    Never contains NUL: plain literals may not carry it."""
    rng = random.Random(seed)
    message = rng.choice([PLAIN, MIXED, MIXED, simple(seed)])
    for _ in range(rng.randint(1, 6)):
        message = mutate(rng, message)
    return message.replace(b"\0", b"\x01")


def mutate(rng, message):
    """One random damage."""
    at = rng.randint(0, len(message))
    kind = rng.randrange(11)
    if kind == 0:
        return message.replace(b"\r\n", b"\n")
    if kind == 1:
        return message[:at] + b"\r" + message[at:]
    if kind == 2:
        return message[:at] + b"\n" + message[at:]
    if kind == 3:
        return message[:at] + bytes(rng.randrange(1, 256) for _ in range(20)) + message[at:]
    if kind == 4:
        return message[:at]
    if kind == 5:
        return message[:at] + b"x" * rng.randint(1000, 9000) + message[at:]
    if kind == 6:
        end = min(len(message), at + rng.randint(1, 60))
        return message[:at] + message[end:]
    if kind == 7:
        return message + message[at:]
    if kind == 8:
        return message.replace(b"\r\n\r\n", b"\r\n", 1)
    if kind == 9:
        return message[:at] + b"\r\n\r\n" + message[at:]
    return message[:at] + b"\r\n--outer\r\n" + message[at:]
