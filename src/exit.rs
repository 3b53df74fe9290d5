//! The exit statuses, for scripts and service managers.

use std::process::ExitCode;

/// Why the process ends. The numbers are part of the interface; `kiln mount --help` lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Something that none of the others names.
    General = 1,
    /// The command line; clap uses it too.
    Usage = 2,
    /// The volfile.
    Volfile = 3,
    /// The brick directory, or another layer of the graph.
    Brick = 4,
    /// io_uring, or the threads of the cores.
    Engine = 5,
    /// The mount.
    Mount = 6,
    /// The control socket: no such brick is running, or one of that name is already.
    Control = 7,
    /// Stopped by force, or requests had to be cut off.
    CutOff = 8,
    /// `kiln check` has found something that is wrong (still), or `kiln python run` a fault of the translator.
    Findings = 9,
    /// The addresses that clients are served at.
    Listen = 10,
    /// A core's thread died: a bug. The rest of the process cannot serve without it.
    CoreLost = 70,
}

/// The statuses as text, for `--help` and the man pages.
#[macro_export]
macro_rules! exit_status_help {
    () => {
        "\
Exit status:
   0  all is well; a brick was stopped or unmounted in order
   1  another failure, such as a file that cannot be read
   2  a wrong command line
   3  the volfile has errors
   4  the brick directory (or another layer of the graph) refused to start, or failed later
   5  the engine did not start: io_uring missing or disabled, too little locked memory
   6  the mount failed: mount point missing or busy, no /dev/fuse
   7  control socket: no such brick runs here, or one of that name is already running
   8  stopped by force, or requests had to be cut off
   9  `kiln check` found something that is wrong and was not repaired, or `kiln python run` a translator's fault
  10  clients cannot be served: an address is in use or no address of this machine
  70  a thread that serves requests died, which is a bug in Kiln"
    };
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl Exit {
    /// Ends the process at once, without running destructors of other threads.
    pub fn now(self) -> ! {
        std::process::exit(i32::from(self as u8))
    }
}
