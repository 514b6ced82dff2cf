"""Certificates for a database server and its clients, made by openssl."""

import os

import proc

KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


class Authority:
    """A certificate authority in a folder: ca.pem, and what it has signed."""

    def __init__(self, folder, name="authority"):
        self.folder = folder
        os.makedirs(folder, exist_ok=True)
        os.chmod(folder, 0o755)
        self.root = os.path.join(folder, "ca.pem")
        self._key = os.path.join(folder, "ca.key")
        proc.run(["openssl", "req", "-x509", *KEY, "-keyout", self._key, "-out", self.root,
                  "-subj", "/CN=" + name, "-days", "2"])
        os.chmod(self.root, 0o644)

    def sign(self, name, subject, host="", days=2, user=None):
        """Make NAME.pem and NAME.key, which the user alone can read; returns their paths.

        days -1: expired."""
        path = os.path.join(self.folder, name)
        proc.run(["openssl", "req", *KEY, "-keyout", path + ".key", "-out", path + ".csr",
                  "-subj", "/CN=" + subject])
        extra = []
        if host:
            with open(path + ".ext", "w") as handle:
                handle.write("subjectAltName=DNS:%s\n" % host)
            extra = ["-extfile", path + ".ext"]
        proc.run(["openssl", "x509", "-req", "-in", path + ".csr", "-CA", self.root, "-CAkey", self._key,
                  "-CAcreateserial", "-days", str(days), "-out", path + ".pem", *extra])
        os.chmod(path + ".key", 0o600)
        os.chmod(path + ".pem", 0o644)
        if user:
            proc.give(path + ".key", user)
        return path + ".pem", path + ".key"
