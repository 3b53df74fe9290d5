"""Negative lookups in the style of the 2013 article: decorated functions and module-level state.

A name that was looked up in vain is remembered, and the next lookup of it is answered at once. This is the
demonstration: it sees only `lookup` and `create`, so a name that comes by `mkdir` or `rename` stays hidden, and a
lookup that races with a create can hide the new file. `negative_correct` closes both.
"""

from gluster import *

# Request number -> (parent, name), and parent -> names known to be absent.
requests = {}
cache = {}

dl.get_id.restype = c_long
dl.get_id.argtypes = [POINTER(call_frame_t)]


def uuid_text(gfid):
    return "%08x-%08x-%08x-%08x" % tuple(gfid)


def remember(frame, loc):
    name = loc.contents.name
    if name is None:
        return None
    key = (uuid_text(loc.contents.pargfid), name[:])
    requests[dl.get_id(frame)] = key
    return key


@lookup_fop_t
def lookup_fop(frame, this, loc, xdata):
    key = remember(frame, loc)
    if key is not None and key[1] in cache.get(key[0], ()):
        del requests[dl.get_id(frame)]
        dl.unwind_lookup(frame, 0, this, -1, 2, None, None, None, None)
        return 0
    dl.wind_lookup(frame, POINTER(xlator_t)(), loc, xdata)
    return 0


@lookup_cbk_t
def lookup_cbk(frame, cookie, this, op_ret, op_errno, inode, buf, xdata, postparent):
    key = requests.pop(dl.get_id(frame), None)
    if key is not None:
        if op_ret == 0:
            cache.get(key[0], set()).discard(key[1])
        elif op_errno == 2:
            cache.setdefault(key[0], set()).add(key[1])
    dl.unwind_lookup(frame, cookie, this, op_ret, op_errno, inode, buf, xdata, postparent)
    return 0


@create_fop_t
def create_fop(frame, this, loc, flags, mode, umask, fd, xdata):
    remember(frame, loc)
    dl.wind_create(frame, POINTER(xlator_t)(), loc, flags, mode, umask, fd, xdata)
    return 0


@create_cbk_t
def create_cbk(frame, cookie, this, op_ret, op_errno, fd, inode, buf, preparent, postparent, xdata):
    key = requests.pop(dl.get_id(frame), None)
    if key is not None and op_ret == 0:
        cache.get(key[0], set()).discard(key[1])
    dl.unwind_create(frame, cookie, this, op_ret, op_errno, fd, inode, buf, preparent, postparent, xdata)
    return 0


class xlator:
    def __init__(self, xl):
        dl.set_lookup_fop(xl, lookup_fop)
        dl.set_lookup_cbk(xl, lookup_cbk)
        dl.set_create_fop(xl, create_fop)
        dl.set_create_cbk(xl, create_cbk)
