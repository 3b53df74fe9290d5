"""Encrypts file data with AES in counter mode, by gfid and offset. `at_rest` says what this hides, and what not.

    option option.key-file /etc/kiln/volume.key

The file holds 32, 48 or 64 hexadecimal digits: a key of 128, 192 or 256 bits. Needs the package `cryptography`.
"""

from pathlib import Path

from at_rest import AtRest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR, ECB

from kiln import Option, Options

BLOCK = 16


class AesAtRest(AtRest):
    options = Options(Option("key-file", str, description="File with the key in hexadecimal digits"))

    def init(self) -> None:
        super().init()
        self._cipher = AES(bytes.fromhex(Path(self.options["key-file"]).read_text().strip()))

    def keys(self, gfid: bytes, offset: int, size: int) -> bytes:
        # Each file counts from a place of its own, which only the key tells.
        start = Cipher(self._cipher, ECB()).encryptor().update(gfid)
        counter = (int.from_bytes(start, "big") + offset // BLOCK) % (1 << 128)
        skipped = offset % BLOCK
        stream = Cipher(self._cipher, CTR(counter.to_bytes(BLOCK, "big"))).encryptor()
        return stream.update(bytes(skipped + size))[skipped:]
