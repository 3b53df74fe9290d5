"""The volfiles of bricks and clients that are measured: the same for Kiln and for glusterfsd."""

# From the storage up, what a brick of a volume has between its storage and its clients, as far as both sides have it.
LAYERS = (
    ("access-control", "features/access-control", {}),
    ("locks", "features/locks", {}),
    ("upcall", "features/upcall", {}),
    ("io-threads", "performance/io-threads", {}),
    ("brick", "debug/io-stats", {}),
)

# The same as glusterd 10 writes it for a brick of a new distributed volume.
VOLUME_STORAGE = {"shared-brick-count": 1, "fips-mode-rchecksum": "on"}
VOLUME_LAYERS = (
    ("trash", "features/trash", {"trash-internal-op": "off", "brick-path": "{directory}", "trash-dir": ".trashcan"}),
    (
        "changelog",
        "features/changelog",
        {
            "changelog-barrier-timeout": 120,
            "changelog-notification": "off",
            "changelog-dir": "{directory}/.glusterfs/changelogs",
            "changelog-brick": "{directory}",
        },
    ),
    ("bitrot-stub", "features/bitrot-stub", {"bitrot": "disable", "export": "{directory}"}),
    ("access-control", "features/access-control", {}),
    ("locks", "features/locks", {"enforce-mandatory-lock": "off"}),
    ("worm", "features/worm", {"worm-files-deletable": "on", "worm-file-level": "off", "worm": "off"}),
    ("read-only", "features/read-only", {"read-only": "off"}),
    ("leases", "features/leases", {"leases": "off"}),
    ("upcall", "features/upcall", {"cache-invalidation": "off"}),
    ("io-threads", "performance/io-threads", {}),
    ("selinux", "features/selinux", {"selinux": "on"}),
    (
        "marker",
        "features/marker",
        {
            "inode-quota": "off",
            "quota": "off",
            "gsync-force-xtime": "off",
            "xtime": "off",
            "quota-version": 0,
            "timestamp-file": "{directory}.tstamp",
            "volume-uuid": "7b4a1c3e-0d5f-4f38-9a4e-3a1d6d6b7c01",
        },
    ),
    ("barrier", "features/barrier", {"barrier-timeout": 120, "barrier": "disable"}),
    (
        "index",
        "features/index",
        {
            "xattrop-pending-watchlist": "trusted.afr.vol-",
            "xattrop-dirty-watchlist": "trusted.afr.dirty",
            "index-base": "{directory}/.glusterfs/indices",
        },
    ),
    ("quota", "features/quota", {"deem-statfs": "off", "server-quota": "off", "volume-uuid": "vol"}),
    ("brick", "debug/io-stats", {"count-fop-hits": "off", "latency-measurement": "off"}),
)


def volume(name, kind, below=None, **options):
    """One layer of a volfile; underscores in names of options stand for dashes."""
    lines = [f"volume {name}", f"    type {kind}"]
    lines += [f"    option {key.replace('_', '-')} {value}" for key, value in options.items()]
    lines += [f"    subvolumes {below}"] if below else []
    return "\n".join([*lines, "end-volume", ""])


def server(below, port=None):
    """Who serves the layer `below` to everybody on this machine."""
    place = {"transport.socket.bind-address": "127.0.0.1", "transport.socket.listen-port": port} if port else {}
    return volume("server", "protocol/server", below, transport_type="tcp", **place, **{f"auth.addr.{below}.allow": "*"})


def brick(directory, port, layers=LAYERS, **storage):
    """A brick as both sides get it, or with the layers of a volume's; `storage` are options of storage/posix."""
    text, below = volume("posix", "storage/posix", directory=directory, **storage), "posix"
    for name, kind, options in layers:
        filled = {key: str(value).format(directory=directory) for key, value in options.items()}
        text, below = text + volume(name, kind, below, **filled), name
    return text + server(below, port)


def cached_brick(directory, cache, served, late=0):
    """A brick with `cache` (the text of a volume `cache` on `posix`, or nothing) directly above the storage, whose lookups
    take `late` microseconds longer."""
    text, below = volume("disk" if late else "posix", "storage/posix", directory=directory), "posix"
    if late:
        delay = {"enable": "lookup", "delay_percentage": "100%", "delay_duration": late}
        text += volume("posix", "debug/delay-gen", "disk", **delay)
    if cache:
        text, below = text + cache, "cache"
    for name, kind in (("access", "features/access-control"), ("locks", "features/locks"), ("brick", "debug/io-stats")):
        text, below = text + volume(name, kind, below), name
    return text + (server(below) if served else "")


def client(port, name=None):
    """A client of a brick, with nothing that caches; with a name, as the volume `name` that libgfapi asks for."""
    text = volume(
        "client",
        "protocol/client",
        transport_type="tcp",
        remote_host="127.0.0.1",
        remote_port=port,
        remote_subvolume="brick",
    )
    return text + (volume(name, "features/utime", "client") if name else "")
