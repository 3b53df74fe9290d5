"""A cache of names that do not exist, in the style of the 2013 article.

Unlike the demonstration `negative`, it hides no name that exists: it sees every operation that can make a name, forgets
the name when the operation starts and again when it ends, and does not believe an answer that was on its way meanwhile.
glupy itself could not do this, for it had then only `lookup` and `create`; Kiln hands all that make names to old
translators too. What goes around this layer it cannot see: put it directly above the storage, and leave `on-failure`
and `on-overload` at `error`. The xdata of a lookup does not matter there: the storage has no
answer to it for an absent name.
"""

from collections import Counter, OrderedDict, defaultdict

from gluster import *

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


# The module is one for all its layers, but each needs its own names: this -> State.
states = defaultdict(State)


def state_of(this):
    return states[addressof(this.contents)]


@lookup_fop_t
def lookup_fop(frame, this, loc, xdata):
    key = key_of(loc)
    if key is None:
        dl.wind_lookup(frame, POINTER(xlator_t)(), loc, xdata)
        return 0
    if state_of(this).is_absent(key):
        dl.unwind_lookup(frame, 0, this, -1, ENOENT, None, None, None, None)
        return 0
    state_of(this).asked(dl.get_id(frame), key)
    dl.wind_lookup(frame, POINTER(xlator_t)(), loc, xdata)
    return 0


@lookup_cbk_t
def lookup_cbk(frame, cookie, this, op_ret, op_errno, inode, buf, xdata, postparent):
    state_of(this).answered(dl.get_id(frame), op_ret, op_errno)
    dl.unwind_lookup(frame, cookie, this, op_ret, op_errno, inode, buf, xdata, postparent)
    return 0


@create_fop_t
def create_fop(frame, this, loc, flags, mode, umask, fd, xdata):
    state_of(this).begin(dl.get_id(frame), loc)
    dl.wind_create(frame, POINTER(xlator_t)(), loc, flags, mode, umask, fd, xdata)
    return 0


@create_cbk_t
def create_cbk(frame, cookie, this, op_ret, op_errno, fd, inode, buf, preparent, postparent, xdata):
    state_of(this).end(dl.get_id(frame))
    dl.unwind_create(frame, cookie, this, op_ret, op_errno, fd, inode, buf, preparent, postparent, xdata)
    return 0


@mkdir_fop_t
def mkdir_fop(frame, this, loc, mode, umask, xdata):
    state_of(this).begin(dl.get_id(frame), loc)
    dl.wind_mkdir(frame, POINTER(xlator_t)(), loc, mode, umask, xdata)
    return 0


@mkdir_cbk_t
def mkdir_cbk(frame, cookie, this, op_ret, op_errno, inode, buf, preparent, postparent, xdata):
    state_of(this).end(dl.get_id(frame))
    dl.unwind_mkdir(frame, cookie, this, op_ret, op_errno, inode, buf, preparent, postparent, xdata)
    return 0


@symlink_fop_t
def symlink_fop(frame, this, linkname, loc, umask, xdata):
    state_of(this).begin(dl.get_id(frame), loc)
    dl.wind_symlink(frame, POINTER(xlator_t)(), linkname, loc, umask, xdata)
    return 0


@symlink_cbk_t
def symlink_cbk(frame, cookie, this, op_ret, op_errno, inode, buf, preparent, postparent, xdata):
    state_of(this).end(dl.get_id(frame))
    dl.unwind_symlink(frame, cookie, this, op_ret, op_errno, inode, buf, preparent, postparent, xdata)
    return 0


@link_fop_t
def link_fop(frame, this, oldloc, newloc, xdata):
    state_of(this).begin(dl.get_id(frame), newloc)
    dl.wind_link(frame, POINTER(xlator_t)(), oldloc, newloc, xdata)
    return 0


@link_cbk_t
def link_cbk(frame, cookie, this, op_ret, op_errno, inode, buf, preparent, postparent, xdata):
    state_of(this).end(dl.get_id(frame))
    dl.unwind_link(frame, cookie, this, op_ret, op_errno, inode, buf, preparent, postparent, xdata)
    return 0


@mknod_fop_t
def mknod_fop(frame, this, loc, mode, rdev, umask, xdata):
    state_of(this).begin(dl.get_id(frame), loc)
    dl.wind_mknod(frame, POINTER(xlator_t)(), loc, mode, rdev, umask, xdata)
    return 0


@mknod_cbk_t
def mknod_cbk(frame, cookie, this, op_ret, op_errno, inode, buf, preparent, postparent, xdata):
    state_of(this).end(dl.get_id(frame))
    dl.unwind_mknod(frame, cookie, this, op_ret, op_errno, inode, buf, preparent, postparent, xdata)
    return 0


@rename_fop_t
def rename_fop(frame, this, oldloc, newloc, xdata):
    state_of(this).begin(dl.get_id(frame), oldloc, newloc)
    dl.wind_rename(frame, POINTER(xlator_t)(), oldloc, newloc, xdata)
    return 0


@rename_cbk_t
def rename_cbk(
    frame, cookie, this, op_ret, op_errno, buf, preoldparent, postoldparent, prenewparent, postnewparent, xdata
):
    state_of(this).end(dl.get_id(frame))
    dl.unwind_rename(
        frame, cookie, this, op_ret, op_errno, buf, preoldparent, postoldparent, prenewparent, postnewparent, xdata
    )
    return 0


@put_fop_t
def put_fop(frame, this, loc, mode, umask, flags, vector, count, offset, iobref, xattr, xdata):
    state_of(this).begin(dl.get_id(frame), loc)
    dl.wind_put(frame, POINTER(xlator_t)(), loc, mode, umask, flags, vector, count, offset, iobref, xattr, xdata)
    return 0


@put_cbk_t
def put_cbk(frame, cookie, this, op_ret, op_errno, inode, buf, preparent, postparent, xdata):
    state_of(this).end(dl.get_id(frame))
    dl.unwind_put(frame, cookie, this, op_ret, op_errno, inode, buf, preparent, postparent, xdata)
    return 0


@namelink_fop_t
def namelink_fop(frame, this, loc, xdata):
    state_of(this).begin(dl.get_id(frame), loc)
    dl.wind_namelink(frame, POINTER(xlator_t)(), loc, xdata)
    return 0


@namelink_cbk_t
def namelink_cbk(frame, cookie, this, op_ret, op_errno, preparent, postparent, xdata):
    state_of(this).end(dl.get_id(frame))
    dl.unwind_namelink(frame, cookie, this, op_ret, op_errno, preparent, postparent, xdata)
    return 0


@setxattr_fop_t
def setxattr_fop(frame, this, loc, dictionary, flags, xdata):
    state_of(this).begin_any(dl.get_id(frame), bytes(loc.contents.gfid))
    dl.wind_setxattr(frame, POINTER(xlator_t)(), loc, dictionary, flags, xdata)
    return 0


@setxattr_cbk_t
def setxattr_cbk(frame, cookie, this, op_ret, op_errno, xdata):
    state_of(this).end(dl.get_id(frame))
    dl.unwind_setxattr(frame, cookie, this, op_ret, op_errno, xdata)
    return 0


class xlator:
    def __init__(self, xl):
        self.state = states[xl] = State()
        dl.set_lookup_fop(xl, lookup_fop)
        dl.set_lookup_cbk(xl, lookup_cbk)
        dl.set_create_fop(xl, create_fop)
        dl.set_create_cbk(xl, create_cbk)
        dl.set_mkdir_fop(xl, mkdir_fop)
        dl.set_mkdir_cbk(xl, mkdir_cbk)
        dl.set_symlink_fop(xl, symlink_fop)
        dl.set_symlink_cbk(xl, symlink_cbk)
        dl.set_link_fop(xl, link_fop)
        dl.set_link_cbk(xl, link_cbk)
        dl.set_mknod_fop(xl, mknod_fop)
        dl.set_mknod_cbk(xl, mknod_cbk)
        dl.set_rename_fop(xl, rename_fop)
        dl.set_rename_cbk(xl, rename_cbk)
        dl.set_put_fop(xl, put_fop)
        dl.set_put_cbk(xl, put_cbk)
        dl.set_namelink_fop(xl, namelink_fop)
        dl.set_namelink_cbk(xl, namelink_cbk)
        dl.set_setxattr_fop(xl, setxattr_fop)
        dl.set_setxattr_cbk(xl, setxattr_cbk)

    def statedump(self):
        return self.state.statistics()
