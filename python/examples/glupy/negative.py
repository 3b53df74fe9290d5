"""Negative lookups in the class era's style, as glupy's own demonstration had them.

A name that was looked up in vain is remembered, and the next lookup of it is answered at once. This is the
demonstration: it sees only `lookup` and `create`, so a name that comes by `mkdir` or `rename` stays hidden, and a
lookup that races with a create can hide the new file. `negative_correct` closes both.
"""

from uuid import UUID

from gluster.glupy import *

# Names of each parent that are known to be absent. One cache for all instances of this module: good enough to teach.
cache = {}

dl.get_id.restype = c_long
dl.get_id.argtypes = [POINTER(call_frame_t)]


def gfid_text(gfid):
    return str(UUID(bytes=bytes(gfid)))


class xlator(Translator):
    def __init__(self, c_this):
        self.requests = {}
        Translator.__init__(self, c_this)

    def remember(self, frame, loc):
        name = loc.contents.name
        if name is None:
            return None
        key = (gfid_text(loc.contents.pargfid), name[:])
        self.requests[dl.get_id(frame)] = key
        return key

    def lookup_fop(self, frame, this, loc, xdata):
        key = self.remember(frame, loc)
        if key is not None and key[1] in cache.get(key[0], ()):
            del self.requests[dl.get_id(frame)]
            dl.unwind_lookup(frame, 0, this, -1, 2, None, None, None, None)
            return 0
        dl.wind_lookup(frame, POINTER(xlator_t)(), loc, xdata)
        return 0

    def lookup_cbk(self, frame, cookie, this, op_ret, op_errno, inode, buf, xdata, postparent):
        key = self.requests.pop(dl.get_id(frame), None)
        if key is not None:
            if op_ret == 0:
                cache.get(key[0], set()).discard(key[1])
            elif op_errno == 2:
                cache.setdefault(key[0], set()).add(key[1])
        dl.unwind_lookup(frame, cookie, this, op_ret, op_errno, inode, buf, xdata, postparent)
        return 0

    def create_fop(self, frame, this, loc, flags, mode, umask, fd, xdata):
        self.remember(frame, loc)
        dl.wind_create(frame, POINTER(xlator_t)(), loc, flags, mode, umask, fd, xdata)
        return 0

    def create_cbk(self, frame, cookie, this, op_ret, op_errno, fd, inode, buf, preparent, postparent, xdata):
        key = self.requests.pop(dl.get_id(frame), None)
        if key is not None and op_ret == 0:
            cache.get(key[0], set()).discard(key[1])
        dl.unwind_create(frame, cookie, this, op_ret, op_errno, fd, inode, buf, preparent, postparent, xdata)
        return 0
