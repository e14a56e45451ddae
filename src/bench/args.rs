//! The command line of `signpost-bench`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

use super::ndots::Resolver;
use super::order::Law;

/// Measures DNS servers.
#[derive(Debug, Parser)]
#[command(name = "signpost-bench", about, disable_help_subcommand = true)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Asks a server many questions and says how it answered.
    ///
    /// Exit status 1: a query was lost, or a reply was wrong.
    Load(Load),
    /// Prints questions made from a cluster's own Services, EndpointSlices and Pods, for
    /// `load --questions`.
    Mix(Mix),
    /// Prints what a Pod sends when a program looks up a name: the walk along the search list.
    Ndots(Ndots),
}

/// Options of `load`.
#[derive(Debug, Clone, clap::Args)]
pub struct Load {
    /// The server: ADDRESS:PORT.
    #[arg(short, long, value_name = "ADDRESS:PORT")]
    pub server: SocketAddr,

    /// Questions, one a line: `NAME TYPE [RCODE [ANSWERS]]`. `{n}` in a name becomes a number that
    /// is new each time.
    #[arg(short, long, value_name = "FILE")]
    pub questions: PathBuf,

    /// Which question is next.
    #[arg(long, value_enum, default_value_t = Law::Turn)]
    pub law: Law,

    /// Open loop: queries a second, sent when due whether or not replies come.
    #[arg(short, long, value_name = "N", conflicts_with = "outstanding")]
    pub rate: Option<f64>,

    /// Closed loop: queries that are always on their way.
    #[arg(short, long, value_name = "N", default_value_t = 192)]
    pub outstanding: usize,

    /// How long to ask.
    #[arg(short = 'l', long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub seconds: Duration,

    /// So many queries instead of a time; all of them count.
    #[arg(short = 'n', long, value_name = "N", conflicts_with = "seconds")]
    pub queries: Option<u64>,

    /// Seconds at the start that do not count.
    #[arg(short, long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub warm_up: Duration,

    /// How queries travel.
    #[arg(short, long, value_enum, default_value_t = Transport::Udp)]
    pub transport: Transport,

    /// Sockets or connections, over all threads.
    #[arg(short, long, value_name = "N", default_value_t = 20)]
    pub clients: usize,

    /// Threads that ask.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub threads: usize,

    /// When a query counts as lost.
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub timeout: Duration,

    /// The UDP size that queries announce (EDNS); 0 sends none.
    #[arg(long, value_name = "OCTETS", default_value_t = 1232)]
    pub edns: u16,

    /// Sets the DO bit.
    #[arg(long)]
    pub dnssec_ok: bool,

    /// The name that a TLS server is asked for. Its certificate is not checked: this measures, it
    /// does not trust.
    #[arg(long, value_name = "NAME", default_value = "signpost.test")]
    pub tls_name: String,

    /// The server's process: its CPU time is part of the report.
    #[arg(short, long, value_name = "PID")]
    pub process: Option<u32>,

    /// Writes the report as JSON, too.
    #[arg(short, long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Prints no line each second.
    #[arg(long)]
    pub quiet: bool,
}

impl Load {
    /// From when on queries count, and when the last one is due; from the start.
    #[must_use]
    pub fn window(&self) -> (Duration, Duration) {
        match self.queries {
            Some(_) => (Duration::ZERO, Duration::MAX),
            None => (self.warm_up, self.warm_up + self.seconds),
        }
    }
}

/// How queries travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// Connections, many queries in flight on each.
    Tcp,
    /// The same under TLS (RFC 7858).
    Tls,
}

/// Options of `mix`.
#[derive(Debug, Clone, clap::Args)]
pub struct Mix {
    /// Files of objects, JSON or YAML; `kubectl get services,endpointslices,pods -A -o json` writes
    /// one.
    #[arg(required = true, value_name = "FILE")]
    pub objects: Vec<PathBuf>,

    /// The cluster's zone.
    #[arg(short, long, value_name = "ZONE", default_value = "cluster.local")]
    pub zone: String,

    /// How many questions.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10_000)]
    pub count: usize,

    /// How many of each kind, in parts: service, aaaa, headless, srv, ptr, nxdomain (what a search
    /// list makes of names outside), external.
    #[arg(
        short,
        long,
        value_name = "KIND=PARTS,...",
        default_value = "service=30,aaaa=30,headless=3,srv=1,ptr=2,nxdomain=24,external=10"
    )]
    pub parts: String,

    /// Names outside the cluster, for `nxdomain` and `external`.
    #[arg(short, long, value_name = "NAME,...", value_delimiter = ',', default_value = "example.com")]
    pub external: Vec<String>,

    /// The same seed gives the same questions.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
}

/// Options of `ndots`.
#[derive(Debug, Clone, clap::Args)]
pub struct Ndots {
    /// The name as the program gives it; a dot at its end counts.
    pub name: String,

    /// `options ndots:N` of resolv.conf.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub ndots: usize,

    /// The search list of resolv.conf.
    #[arg(
        long,
        value_name = "DOMAIN,...",
        value_delimiter = ',',
        default_value = "default.svc.cluster.local,svc.cluster.local,cluster.local"
    )]
    pub search: Vec<String>,

    /// Whose walk.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "glibc,musl,go")]
    pub resolver: Vec<Resolver>,

    /// The full names that have addresses; NAME itself unless others are given.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub exists: Vec<String>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Args::command().debug_assert();
    }

    #[test]
    fn a_rate_and_a_number_of_outstanding_queries_exclude_each_other() {
        let args = "signpost-bench load -s 127.0.0.1:53 -q q -r 100 -o 10".split(' ');
        assert!(Args::try_parse_from(args).is_err());
    }
}
