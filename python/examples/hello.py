"""The smallest translator: greets every name that is looked up, and changes nothing.

volume hello
    type features/glupy
    option module-name hello
    option search-path /usr/share/kiln/examples
    subvolumes posix
end-volume
"""

import kiln
from kiln import Context, Dict, Failure, Loc, reply


class Hello(kiln.Translator):
    def lookup(self, ctx: Context, loc: Loc, xdata: Dict) -> None:
        self.counter("lookups").add()
        self.log.info("hello, client %d is looking for %r", ctx.caller.client, loc.name)

    def lookup_reply(self, ctx: Context, reply: reply.Lookup | Failure) -> None:
        if isinstance(reply, Failure):
            self.log.info("it is not there: errno %d", reply.errno)
        else:
            self.log.info("there it is, %d bytes", reply.iatt.size)
