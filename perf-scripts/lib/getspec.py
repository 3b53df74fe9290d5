#!/usr/bin/env python3
"""Answers clients that ask for a volfile: getspec.py ADDRESS PORT DIR serves DIR/volume-NAME as volume NAME."""

import pathlib
import socketserver
import struct
import sys

GETSPEC = 2
LAST_FRAGMENT = 1 << 31


class Client(socketserver.BaseRequestHandler):
    def take(self, size):
        data = b""
        while len(data) < size:
            more = self.request.recv(size - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def handle(self):
        try:
            while True:
                (mark,) = struct.unpack(">I", self.take(4))
                self.answer(self.take(mark & ~LAST_FRAGMENT))
        except (EOFError, OSError):
            pass

    def answer(self, call):
        xid, _, _, _, _, procedure, _, credential = struct.unpack_from(">8I", call)
        at = 32 + (credential + 3) // 4 * 4
        _, verifier = struct.unpack_from(">2I", call, at)
        at += 8 + (verifier + 3) // 4 * 4
        body = struct.pack(">2iII", -1, 2, 0, 0)
        if procedure == GETSPEC:
            _, length = struct.unpack_from(">2I", call, at)
            name = call[at + 8 : at + 8 + length].rstrip(b"\0").decode().lstrip("/")
            path = pathlib.Path(sys.argv[3], "volume-" + name)
            if name.isalnum() and path.exists():
                text = path.read_bytes()
                padding = b"\0" * (-len(text) % 4)
                body = struct.pack(">2iI", len(text), 0, len(text)) + text + padding + struct.pack(">I", 0)
        reply = struct.pack(">6I", xid, 1, 0, 0, 0, 0) + body
        self.request.sendall(struct.pack(">I", len(reply) | LAST_FRAGMENT) + reply)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


Server((sys.argv[1], int(sys.argv[2])), Client).serve_forever()
