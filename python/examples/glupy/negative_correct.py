"""A cache of names that do not exist, in the class era's style.

Unlike the demonstration `negative`, it hides no name that exists: it sees every operation that can make a name, forgets
the name when the operation starts and again when it ends, and does not believe an answer that was on its way meanwhile.
glupy itself could not do this, for it had no `mknod` and no `rename`; Kiln hands these, `put` and `namelink` to old
translators too. What goes around this layer it cannot see: put it directly above the storage, and leave `on-failure`
and `on-overload` at `error`. The xdata of a lookup does not matter there: the storage has no
answer to it for an absent name.
"""

from collections import Counter, OrderedDict

from gluster.glupy import *

ENOENT = 2
LIMIT = 65536

dl.get_id.restype = c_long
dl.get_id.argtypes = [POINTER(call_frame_t)]


def key_of(loc):
    name = loc.contents.name
    parent = bytes(loc.contents.pargfid)
    if name is None or name in (b"", b".", b"..") or parent == bytes(16):
        return None
    return parent, name


class State:
    """Names that are known to be absent, oldest first, and what is on its way."""

    def __init__(self):
        self.absent = OrderedDict()
        self.names = {}
        self.lookups = {}
        self.requests = {}
        self.closed = Counter()
        self.hits = self.misses = 0

    def is_absent(self, key):
        if key in self.absent:
            self.absent.move_to_end(key)
            self.hits += 1
            return True
        self.misses += 1
        return False

    def asked(self, request, key):
        """A lookup goes down. It is believed unless something makes the name before it is answered."""
        self.lookups.setdefault(key, set()).add(request)
        self.requests[request] = [key]

    def answered(self, request, op_ret, op_errno):
        for key in self.requests.pop(request, ()):
            believed = request in self.lookups.get(key, ())
            self._drop_lookup(key, request)
            if op_ret >= 0:
                self._remove(key)
            elif op_errno == ENOENT and believed and key not in self.closed and (key[0], None) not in self.closed:
                self.absent[key] = True
                self.names.setdefault(key[0], set()).add(key[1])
                if len(self.absent) > LIMIT:
                    self._remove(next(iter(self.absent)))

    def begin(self, request, *locs):
        """Something that may make these names goes down."""
        keys = [key for key in map(key_of, locs) if key is not None]
        self.requests[request] = keys
        for key in keys:
            self.closed[key] += 1
            self._forget(key)

    def begin_any(self, request, directory):
        """Something that may make any name of a directory goes down: a virtual attribute, which cannot be looked at."""
        self.requests[request] = [(directory, None)]
        self.closed[directory, None] += 1
        self._forget_all(directory)

    def _forget_all(self, directory):
        for name in list(self.names.get(directory, ())):
            self._forget((directory, name))
        for key in [key for key in self.lookups if key[0] == directory]:
            self._forget(key)

    def end(self, request):
        """It has ended, well or not."""
        for key in self.requests.pop(request, ()):
            if key[1] is None:
                self._forget_all(key[0])
            else:
                self._forget(key)
            self.closed[key] -= 1
            if not self.closed[key]:
                del self.closed[key]

    def statistics(self):
        """Kiln shows it in its dumps; glupy had no such thing."""
        return {"hits": self.hits, "misses": self.misses, "names": len(self.absent), "closed": len(self.closed)}

    def _forget(self, key):
        self._remove(key)
        self.lookups.pop(key, None)

    def _remove(self, key):
        if self.absent.pop(key, False):
            names = self.names[key[0]]
            names.discard(key[1])
            if not names:
                del self.names[key[0]]

    def _drop_lookup(self, key, request):
        waiting = self.lookups.get(key)
        if waiting is not None:
            waiting.discard(request)
            if not waiting:
                del self.lookups[key]


class xlator(Translator):
    def __init__(self, c_this):
        self.state = State()
        Translator.__init__(self, c_this)

    def statedump(self):
        return self.state.statistics()

    def lookup_fop(self, frame, this, loc, xdata):
        key = key_of(loc)
        if key is None:
            dl.wind_lookup(frame, POINTER(xlator_t)(), loc, xdata)
            return 0
        if self.state.is_absent(key):
            dl.unwind_lookup(frame, 0, this, -1, ENOENT, None, None, None, None)
            return 0
        self.state.asked(dl.get_id(frame), key)
        dl.wind_lookup(frame, POINTER(xlator_t)(), loc, xdata)
        return 0

    def lookup_cbk(self, frame, cookie, this, op_ret, op_errno, inode, buf, xdata, postparent):
        self.state.answered(dl.get_id(frame), op_ret, op_errno)
        dl.unwind_lookup(frame, cookie, this, op_ret, op_errno, inode, buf, xdata, postparent)
        return 0

    def create_fop(self, frame, this, loc, flags, mode, umask, fd, xdata):
        self.state.begin(dl.get_id(frame), loc)
        dl.wind_create(frame, POINTER(xlator_t)(), loc, flags, mode, umask, fd, xdata)
        return 0

    def create_cbk(self, frame, cookie, this, op_ret, op_errno, fd, inode, buf, preparent, postparent, xdata):
        self.state.end(dl.get_id(frame))
        dl.unwind_create(frame, cookie, this, op_ret, op_errno, fd, inode, buf, preparent, postparent, xdata)
        return 0

    def mkdir_fop(self, frame, this, loc, mode, umask, xdata):
        self.state.begin(dl.get_id(frame), loc)
        dl.wind_mkdir(frame, POINTER(xlator_t)(), loc, mode, umask, xdata)
        return 0

    def mkdir_cbk(self, frame, cookie, this, op_ret, op_errno, inode, buf, preparent, postparent, xdata):
        self.state.end(dl.get_id(frame))
        dl.unwind_mkdir(frame, cookie, this, op_ret, op_errno, inode, buf, preparent, postparent, xdata)
        return 0

    def symlink_fop(self, frame, this, linkname, loc, umask, xdata):
        self.state.begin(dl.get_id(frame), loc)
        dl.wind_symlink(frame, POINTER(xlator_t)(), linkname, loc, umask, xdata)
        return 0

    def symlink_cbk(self, frame, cookie, this, op_ret, op_errno, inode, buf, preparent, postparent, xdata):
        self.state.end(dl.get_id(frame))
        dl.unwind_symlink(frame, cookie, this, op_ret, op_errno, inode, buf, preparent, postparent, xdata)
        return 0

    def link_fop(self, frame, this, oldloc, newloc, xdata):
        self.state.begin(dl.get_id(frame), newloc)
        dl.wind_link(frame, POINTER(xlator_t)(), oldloc, newloc, xdata)
        return 0

    def link_cbk(self, frame, cookie, this, op_ret, op_errno, inode, buf, preparent, postparent, xdata):
        self.state.end(dl.get_id(frame))
        dl.unwind_link(frame, cookie, this, op_ret, op_errno, inode, buf, preparent, postparent, xdata)
        return 0

    def mknod_fop(self, frame, this, loc, mode, rdev, umask, xdata):
        self.state.begin(dl.get_id(frame), loc)
        dl.wind_mknod(frame, POINTER(xlator_t)(), loc, mode, rdev, umask, xdata)
        return 0

    def mknod_cbk(self, frame, cookie, this, op_ret, op_errno, inode, buf, preparent, postparent, xdata):
        self.state.end(dl.get_id(frame))
        dl.unwind_mknod(frame, cookie, this, op_ret, op_errno, inode, buf, preparent, postparent, xdata)
        return 0

    def rename_fop(self, frame, this, oldloc, newloc, xdata):
        self.state.begin(dl.get_id(frame), oldloc, newloc)
        dl.wind_rename(frame, POINTER(xlator_t)(), oldloc, newloc, xdata)
        return 0

    def rename_cbk(
        self, frame, cookie, this, op_ret, op_errno, buf, preoldparent, postoldparent, prenewparent, postnewparent, xdata
    ):
        self.state.end(dl.get_id(frame))
        dl.unwind_rename(
            frame, cookie, this, op_ret, op_errno, buf, preoldparent, postoldparent, prenewparent, postnewparent, xdata
        )
        return 0

    def put_fop(self, frame, this, loc, mode, umask, flags, vector, count, offset, iobref, xattr, xdata):
        self.state.begin(dl.get_id(frame), loc)
        dl.wind_put(frame, POINTER(xlator_t)(), loc, mode, umask, flags, vector, count, offset, iobref, xattr, xdata)
        return 0

    def put_cbk(self, frame, cookie, this, op_ret, op_errno, inode, buf, preparent, postparent, xdata):
        self.state.end(dl.get_id(frame))
        dl.unwind_put(frame, cookie, this, op_ret, op_errno, inode, buf, preparent, postparent, xdata)
        return 0

    def namelink_fop(self, frame, this, loc, xdata):
        self.state.begin(dl.get_id(frame), loc)
        dl.wind_namelink(frame, POINTER(xlator_t)(), loc, xdata)
        return 0

    def namelink_cbk(self, frame, cookie, this, op_ret, op_errno, preparent, postparent, xdata):
        self.state.end(dl.get_id(frame))
        dl.unwind_namelink(frame, cookie, this, op_ret, op_errno, preparent, postparent, xdata)
        return 0

    def setxattr_fop(self, frame, this, loc, dictionary, flags, xdata):
        self.state.begin_any(dl.get_id(frame), bytes(loc.contents.gfid))
        dl.wind_setxattr(frame, POINTER(xlator_t)(), loc, dictionary, flags, xdata)
        return 0

    def setxattr_cbk(self, frame, cookie, this, op_ret, op_errno, xdata):
        self.state.end(dl.get_id(frame))
        dl.unwind_setxattr(frame, cookie, this, op_ret, op_errno, xdata)
        return 0

    def fsetxattr_fop(self, frame, this, fd, dictionary, flags, xdata):
        self.state.begin_any(dl.get_id(frame), bytes(fd.contents.inode.contents.gfid))
        dl.wind_fsetxattr(frame, POINTER(xlator_t)(), fd, dictionary, flags, xdata)
        return 0

    def fsetxattr_cbk(self, frame, cookie, this, op_ret, op_errno, xdata):
        self.state.end(dl.get_id(frame))
        dl.unwind_fsetxattr(frame, cookie, this, op_ret, op_errno, xdata)
        return 0
