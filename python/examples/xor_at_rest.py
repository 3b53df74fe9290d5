"""Obfuscates file data with a repeated key. A toy that shows how data is changed: for secrecy see `aes_at_rest`.

    option option.key correct-horse-battery-staple
"""

from at_rest import AtRest

from kiln import Option, Options


class XorAtRest(AtRest):
    options = Options(Option("key", str, description="The key, any text that is not empty"))

    def init(self) -> None:
        super().init()
        self._key: bytes = self.options["key"].encode()
        if not self._key:
            raise ValueError("option `key` must not be empty")

    def keys(self, gfid: bytes, offset: int, size: int) -> bytes:
        start = offset % len(self._key)
        return (self._key * ((start + size) // len(self._key) + 1))[start : start + size]
