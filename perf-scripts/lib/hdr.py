"""Reads the logs of HdrHistogram (version 2 of histograms and of the log), for the curve of percentiles."""

import base64
import struct
import zlib

COMPRESSED, PLAIN = 0x1C849304, 0x1C849303
# The base of a cookie is all but the bits that tell the size of a word.
BASE = ~0xF0


def _numbers(data):
    """ZigZag LEB128 of at most nine bytes each."""
    at = 0
    while at < len(data):
        value = shift = 0
        for place in range(9):
            byte = data[at]
            at += 1
            if place == 8:
                value |= byte << shift
                break
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        yield (value >> 1) ^ -(value & 1)


def decode(text):
    """Counts by value (the middle of what a count stands for) of one histogram in base64."""
    data = base64.b64decode(text)
    cookie, length = struct.unpack_from(">II", data)
    if cookie & BASE == COMPRESSED & BASE:
        data = zlib.decompress(data[8 : 8 + length])
    elif cookie & BASE != PLAIN & BASE:
        raise ValueError(f"not a histogram of version 2: {cookie:#x}")
    cookie, length, offset, digits, lowest, _, _ = struct.unpack_from(">IIiiqqd", data)
    if cookie & BASE != PLAIN & BASE or offset:
        raise ValueError(f"not a histogram of version 2: {cookie:#x}")
    unit = lowest.bit_length() - 1
    half = (2 * 10**digits - 1).bit_length() - 1
    counts, index = {}, 0
    for number in _numbers(data[40 : 40 + length]):
        if number < 0:
            index += -number
            continue
        if number:
            # The first bucket has two halves, all others an upper half alone.
            bucket, within = (index >> half) - 1, (index & ((1 << half) - 1)) + (1 << half)
            if bucket < 0:
                bucket, within = 0, within - (1 << half)
            step = 1 << (bucket + unit)
            value = (within << (bucket + unit)) + step // 2
            counts[value] = counts.get(value, 0) + number
        index += 1
    return counts


def histogram(log, tag):
    """All intervals of one tag of a log together (of those without a tag, if none has this one)."""
    tagged, bare = {}, {}
    for line in log.splitlines():
        if not line or line[0] in '#"':
            continue
        named = line.startswith("Tag=")
        name, _, rest = line[4:].partition(",") if named else ("", "", line)
        if named and name != tag:
            continue
        counts = tagged if named else bare
        for value, count in decode(rest.rsplit(",", 1)[1]).items():
            counts[value] = counts.get(value, 0) + count
    return tagged or bare


def curve(log, tag, points=60):
    """Percentiles from 0 to the last value, as [share of the operations, value], even on a scale of nines."""
    counts = sorted(histogram(log, tag).items())
    total = sum(count for _, count in counts)
    if not total:
        return []
    wanted = [0.0] + [1 - 10 ** (-6 * step / points) for step in range(1, points + 1)]
    out, seen, at = [], 0, 0
    for share in wanted:
        if share > 1 - 1 / total:
            break
        while at < len(counts) - 1 and seen + counts[at][1] < share * total:
            seen += counts[at][1]
            at += 1
        out.append([share, counts[at][0]])
    out.append([1 - 1 / (2 * total), counts[-1][0]])
    return out
