"""Mails of realistic sizes and shapes, the same ones for the same number.

Header and body sizes are log-normal: headers with a median of 2.5 KB, bodies
with a median of 8 KB and a mean of about 75 KB, up to 25 MB. Small bodies are
text, or text and HTML; large ones carry an attachment in base64, mostly of
bytes that don't compress. No two mails have a body in common."""

import base64
import functools
import math
import random

HEADER_MEDIAN = 2500
HEADER_SIGMA = 0.4
BODY_MEDIAN = 8000
# mean = median * exp(sigma^2 / 2)
BODY_SIGMA = math.sqrt(2 * math.log(75000 / BODY_MEDIAN))
BODY_MAX = 25 * 1024 * 1024
POOL = 8 * 1024 * 1024
WORDS = 4000


class Corpus:
    """message(number) makes a mail; body sizes may be capped."""

    def __init__(self, seed=1, body_max=BODY_MAX):
        self._seed = seed
        self._body_max = body_max
        self._text, self._binary, self._office = pools()

    def message(self, number):
        """The mail of this number, without Return-Path."""
        rng = random.Random("%d/%d" % (self._seed, number))
        size = min(int(rng.lognormvariate(math.log(BODY_MEDIAN), BODY_SIGMA)), self._body_max)
        if size < 20000:
            kind, body = self._letter(rng, number, size)
        else:
            kind, body = self._attachment(rng, number, size)
        return self._header(rng, number, kind) + b"\r\n" + body

    def messages(self, count, first=1):
        """An iterator over so many of them."""
        return (self.message(number) for number in range(first, first + count))

    # -- parts ------------------------------------------------------------

    def _header(self, rng, number, kind):
        lines = [
            b"From: Person %d <p%d@example.org>" % (number % 97, number % 97),
            b"To: Reader <reader@example.com>, p%d@example.org" % (number % 31),
            b"Subject: " + self._words(rng, rng.randint(2, 9)).replace(b"\r\n", b" "),
            b"Date: %s, %d %s %d %02d:%02d:%02d +0100" % (
                rng.choice((b"Mon", b"Tue", b"Fri")), rng.randint(1, 28), rng.choice((b"Jan", b"May", b"Oct")),
                rng.randint(2015, 2024), rng.randint(0, 23), rng.randint(0, 59), number % 60),
            b"Message-ID: <%d.%d@mail.example.org>" % (self._seed, number),
            b"MIME-Version: 1.0",
            b"Content-Type: " + kind,
        ]
        wanted = int(rng.lognormvariate(math.log(HEADER_MEDIAN), HEADER_SIGMA))
        size = sum(map(len, lines))
        while size < wanted:
            line = b"Received: from mx%d.example.net (mx [192.0.2.%d])\r\n\tby mx%d.example.org with ESMTPS id %s;\r\n\t%d Jan 2024" % (
                rng.randint(1, 9), rng.randint(1, 254), rng.randint(1, 9), base64.b16encode(rng.randbytes(16)),
                rng.randint(1, 28))
            if rng.random() < 0.3:
                line = b"DKIM-Signature: v=1; a=rsa-sha256; d=example.net; b=" + base64.b64encode(rng.randbytes(192))
            lines.insert(0, line)
            size += len(line)
        return b"\r\n".join(lines) + b"\r\n"

    def _words(self, rng, count):
        at = rng.randrange(len(self._text) - 1000)
        return b" ".join(self._text[at:at + 1000].split()[1:count + 1])

    def _letter(self, rng, number, size):
        text = b"Number %d.\r\n" % number + self._slice(self._text, rng, size)
        if rng.random() < 0.4:
            return b"text/plain; charset=utf-8", text
        half = text[:len(text) // 3]
        html = b"<html><body><p>" + text[len(half):].replace(b".", b".</p><p>") + b"</p></body></html>\r\n"
        return (b"multipart/alternative; boundary=\"alt%d\"" % number,
                self._parts(b"alt%d" % number, (b"text/plain; charset=utf-8", b"", half),
                            (b"text/html; charset=utf-8", b"", html)))

    def _attachment(self, rng, number, size):
        letter = b"Number %d.\r\n" % number + self._slice(self._text, rng, min(size // 10, 6000))
        pool, kind, name = rng.choice((
            (self._binary, b"image/jpeg", b"photo.jpg"), (self._binary, b"application/pdf", b"report.pdf"),
            (self._office, b"text/csv", b"table.csv")))
        data = b""
        while len(data) < size:
            at = rng.randrange(len(pool) // 78) * 78
            data += pool[at:at + size - len(data) + 77 - (size - len(data) + 77) % 78]
        return (b"multipart/mixed; boundary=\"mix%d\"" % number,
                self._parts(b"mix%d" % number, (b"text/plain; charset=utf-8", b"", letter),
                            (kind + b"; name=\"" + name + b"\"", b"Content-Transfer-Encoding: base64\r\n"
                             b"Content-Disposition: attachment; filename=\"" + name + b"\"\r\n", data)))

    @staticmethod
    def _slice(pool, rng, size):
        at = rng.randrange(len(pool))
        data = pool[at:at + size]
        while len(data) < size:
            data += pool[:size - len(data)]
        return data + b"\r\n"

    @staticmethod
    def _parts(boundary, *parts):
        text = b"This is a message in MIME format.\r\n"
        for kind, more, body in parts:
            text += b"--%s\r\nContent-Type: %s\r\n%s\r\n%s\r\n" % (boundary, kind, more, body)
        return text + b"--%s--\r\n" % boundary


@functools.lru_cache(maxsize=1)
def pools():
    """Text, and base64 of bytes that don't compress and of a document that does.

    base64 has lines of 76 characters, so a slice at a multiple of 78 is well
    formed."""
    rng = random.Random(1)
    text = make_text(rng)
    return text, base64_lines(rng.randbytes(POOL // 2)), base64_lines(text[:POOL // 4])


def base64_lines(data):
    """base64 as mails carry it."""
    return base64.encodebytes(data).replace(b"\n", b"\r\n")


def make_text(rng):
    """Text whose words are as frequent as Zipf says, in lines."""
    letters = "eeeeetttaaoooiinnsshrrdlcumwfgypbvk"
    words = ["".join(rng.choice(letters) for _ in range(max(2, int(rng.gauss(6, 2.5))))) for _ in range(WORDS)]
    weights = [1 / (rank + 2.7) for rank in range(WORDS)]
    pieces, line, size = [], [], 0
    # a quarter of the pool, four times in another order of lines
    while size < POOL // 4:
        line = " ".join(rng.choices(words, weights, k=11)).capitalize() + ".\r\n"
        pieces.append(line)
        size += len(line)
    text = "".join(pieces)
    for _ in range(3):
        rng.shuffle(pieces)
        text += "".join(pieces)
    return text.encode()
