//! The servers under test, all started with the same Corefile.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::fence::Fence;
use crate::support;

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Signpost,
    CoreDns,
}

impl Kind {
    /// Returns its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Signpost => "Signpost",
            Self::CoreDns => "CoreDNS",
        }
    }

    /// Returns the path of its program, if it exists.
    pub(crate) fn program(self) -> Option<PathBuf> {
        let path = match self {
            Self::Signpost => PathBuf::from(env!("CARGO_BIN_EXE_signpost")),
            Self::CoreDns => {
                let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
                let target = target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"));
                target.join("peers/coredns")
            }
        };
        path.exists().then_some(path)
    }
}

/// One run of a row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    /// The server.
    pub(crate) kind: Kind,
    /// Whether there is time for many questions, and the machine is quiet enough for figures.
    pub(crate) long: bool,
}

impl Run {
    /// Returns the number for the short or the long form.
    pub(crate) fn pick<T>(&self, short: T, long: T) -> T {
        if self.long { long } else { short }
    }

    /// Starts the server.
    pub(crate) fn serve(&self, corefile: &str) -> Server {
        self.serve_with(corefile, &[])
    }

    /// Starts the server, which may end at once.
    pub(crate) fn try_serve(&self, corefile: &str) -> Option<Server> {
        let program = self.kind.program().expect("rows run with programs that are there");
        support::Server::try_start(&program, corefile, &[]).ok().map(Server)
    }

    /// Starts the server with files beside its Corefile.
    pub(crate) fn serve_with(&self, corefile: &str, files: &[(&str, &str)]) -> Server {
        let program = self.kind.program().expect("rows run with programs that are there");
        Server(support::Server::start_program(&program, corefile, files))
    }

    /// Starts the server inside a memory limit.
    pub(crate) fn serve_within(&self, fence: &Fence, corefile: &str) -> Server {
        let program = self.kind.program().expect("rows run with programs that are there");
        Server(support::Server::start_program(&fence.program(&program), corefile, &[]))
    }

    /// Starts the server with a `forward` of everything to these upstreams, with lines above it and
    /// with options.
    pub(crate) fn forward(&self, above: &str, to: &[SocketAddr], options: &str) -> Server {
        self.serve(&corefile(above, to, options))
    }
}

/// Returns a Corefile with a `forward` of everything to these upstreams.
pub(crate) fn corefile(above: &str, to: &[SocketAddr], options: &str) -> String {
    let to: String = to.iter().map(|to| format!(" {to}")).collect();
    format!(".:PORT {{\n    bind 127.0.0.1\n    {above}\n    forward .{to} {{\n        {options}\n    }}\n}}\n")
}

/// A running server.
pub(crate) struct Server(pub(crate) support::Server);

impl Server {
    /// Returns the address where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.0.address()
    }

    /// Returns a value of `/proc/PID/status` in KiB: `VmHWM` is the peak of its memory, `VmRSS` the
    /// current size.
    pub(crate) fn memory(&self, what: &str) -> u64 {
        let path = format!("/proc/{}/status", self.0.process());
        let status = std::fs::read_to_string(path).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':'));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
    }

    /// Resets `VmHWM`.
    pub(crate) fn forget_most_memory(&self) {
        let _ = std::fs::write(format!("/proc/{}/clear_refs", self.0.process()), "5");
    }

    /// Returns the processor time that it has used, in hundredths of a second.
    pub(crate) fn ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.process())).unwrap_or_default();
        // After the name in brackets: fields 12 and 13 are user and system time.
        let fields = stat.rsplit(')').next().unwrap_or_default();
        fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum()
    }
}
