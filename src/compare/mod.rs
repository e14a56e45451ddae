//! `signpost compare`: asks two servers the same questions and prints only what differs.
//!
//! It is for a check before the switch: the questions come from a file, or from the query log of
//! the server that runs today. It changes nothing.
//!
//! - [`options`]: the command line
//! - [`questions`]: what is asked
//! - [`differ`]: the differences between two replies
//!
//! # What counts as a difference
//!
//! Compared are the RCODE, the AA bit and the records of each section except OPT. The order does
//! not matter except for aliases. The serial of a SOA is left out, as it depends on the time. So
//! are TTLs, which count down in a cache, unless `-ttl` is given.
//!
//! If two replies differ, both servers are asked again. If they agree then, a change was on its
//! way. If the other server's own two replies differ (names outside that rotate their addresses),
//! the question is counted separately.

pub mod differ;
pub mod options;
pub mod questions;

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::time::{Instant, sleep, sleep_until};

use hickory_proto::op::Query;

use crate::ask::exchange::{How, Reply, exchange};
use differ::{Seen, differences};
use options::Options;
use questions::Question;

/// Number of questions in flight at a time.
const WIDTH: usize = 8;

/// How long a change may take to reach both servers.
const PAUSE: Duration = Duration::from_millis(500);

/// The result of one question.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Same,
    /// Lines, one for each difference.
    Differs(Vec<String>),
    /// The other server's own replies differ.
    Restless,
}

/// Compares, and prints differences on standard output. The exit status is 1 if there are any.
///
/// # Errors
/// What is wrong with the file of questions.
pub fn run(options: &Options) -> Result<ExitCode, String> {
    let questions = questions::read(&options.questions)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let out = std::io::stdout();
    runtime.block_on(compare_all(options, &questions, &mut out.lock())).map_err(|error| error.to_string())
}

async fn compare_all(options: &Options, questions: &[Question], out: &mut impl Write) -> std::io::Result<ExitCode> {
    let (mut same, mut differing, mut restless) = (0_u32, 0_u32, 0_u32);
    let (start, gap) = (Instant::now(), Duration::from_secs_f64(1.0 / options.rate));
    let verdicts = stream::iter((0..).zip(questions)).map(|(at, question)| async move {
        sleep_until(start + gap * at).await;
        (question, compare(options, question).await)
    });
    let mut verdicts = std::pin::pin!(verdicts.buffered(WIDTH));
    while let Some((question, verdict)) = verdicts.next().await {
        match verdict {
            Verdict::Same => same += 1,
            Verdict::Restless => restless += 1,
            Verdict::Differs(lines) => {
                differing += 1;
                writeln!(out, "{question}")?;
                lines.iter().try_for_each(|line| writeln!(out, "    {line}"))?;
            }
        }
    }
    writeln!(
        out,
        "{} questions to {} and {}: {same} answered the same, {differing} differ, {restless} change by themselves",
        questions.len(),
        options.server,
        options.against,
    )?;
    Ok(if differing == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn compare(options: &Options, question: &Question) -> Verdict {
    let both = async || {
        let (query, how) = (Query::query(question.name.clone(), question.qtype), How::default());
        let (ours, theirs) =
            tokio::join!(exchange(options.server, &query, &how), exchange(options.against, &query, &how));
        let seen = |reply: Result<Reply, String>| reply.map(|reply| Seen::new(&reply.message, options.ttl));
        (seen(ours), seen(theirs))
    };
    let (ours, theirs) = both().await;
    if differences(options, &ours, &theirs).is_empty() {
        return Verdict::Same;
    }
    sleep(PAUSE).await;
    let (ours, again) = both().await;
    match differences(options, &ours, &again) {
        lines if lines.is_empty() => Verdict::Same,
        _ if theirs.is_ok() && theirs != again => Verdict::Restless,
        lines => Verdict::Differs(lines),
    }
}
