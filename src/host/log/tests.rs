//! Lanes and the writer without threads: no line is lost, torn or dropped uncounted.

use std::io::{self, ErrorKind};

use super::lanes::{BLOCK, LIMIT, of_worker};
use super::*;

/// A reader with limited room that may also have closed its end.
#[derive(Default)]
struct Reader {
    got: Vec<u8>,
    calls: usize,
    /// The errors of the next calls.
    fails: Vec<ErrorKind>,
}

impl Write for &mut Reader {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.calls += 1;
        if let Some(kind) = self.fails.pop() {
            return Err(kind.into());
        }
        // In pieces, as a pipe does.
        let len = bytes.len().min(50_000);
        self.got.extend_from_slice(&bytes[..len]);
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn print(lanes: &Lanes, lane: usize, text: &str) -> bool {
    lanes.append(lane, |buffer| buffer.extend_from_slice(text.as_bytes()))
}

fn written(lanes: &Lanes) -> String {
    let mut reader = Reader::default();
    while Writer::new(lanes, &mut reader).round() {}
    String::from_utf8(reader.got).expect("text")
}

#[test]
fn the_writer_is_woken_for_the_first_line_and_for_a_block() {
    let lanes = Lanes::new();
    assert!(print(&lanes, 1, "a\n"), "it sleeps at first");
    assert!(!print(&lanes, 1, "b\n") && !print(&lanes, 2, "c\n"), "then it looks by itself");
    assert!(print(&lanes, 2, &"x".repeat(BLOCK)), "but for a block it comes at once");
    assert!(!print(&lanes, 2, "\n"), "once");
    assert!(!lanes.may_sleep(), "there are lines");
    assert_eq!(written(&lanes), format!("a\nb\nc\n{}\n", "x".repeat(BLOCK)));
    assert!(lanes.may_sleep());
    assert!(print(&lanes, 1, "d\n"));
}

#[test]
fn lines_of_all_lanes_are_written_together() {
    let (lanes, mut reader) = (Lanes::new(), Reader::default());
    for worker in 0..40 {
        let _ = print(&lanes, of_worker(worker), "line\n");
    }
    let mut writer = Writer::new(&lanes, &mut reader);
    assert!(writer.round() && !writer.round());
    assert_eq!((reader.calls, reader.got), (1, b"line\n".repeat(40)));
}

#[test]
fn a_full_lane_drops_and_counts_and_says_so_afterwards() {
    let (lanes, mut reader) = (Lanes::new(), Reader::default());
    let line = format!("{}\n", "x".repeat(63));
    let fit = LIMIT / line.len();
    for _ in 0..fit + 7 {
        let _ = print(&lanes, 3, &line);
    }
    assert_eq!(lanes.dropped(), 7);
    let _ = print(&lanes, 4, "another\n");
    let mut writer = Writer::new(&lanes, &mut reader);
    assert!(writer.round());
    let _ = print(&lanes, 3, "after\n");
    assert!(writer.round() && !writer.round());
    let expected = line.repeat(fit) + "another\n[WARNING] 7 log lines were dropped: nobody read them\nafter\n";
    assert!(String::from_utf8(reader.got).expect("text") == expected, "no line is lost or torn");
}

#[test]
fn a_line_whose_maker_panics_is_left_out() {
    let lanes = Lanes::new();
    let _ = print(&lanes, 1, "whole\n");
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _ = lanes.append(1, |buffer| {
            buffer.extend_from_slice(b"[INFO] ha");
            panic!("while a line is made");
        });
    }));
    assert!(panicked.is_err());
    let _ = print(&lanes, 1, "next\n");
    assert_eq!(written(&lanes), "whole\nnext\n");
}

#[test]
fn lines_are_dropped_if_the_reader_is_slow_or_closed() {
    let lanes = Lanes::new();
    let mut reader = Reader {
        fails: vec![ErrorKind::BrokenPipe, ErrorKind::WouldBlock, ErrorKind::Interrupted],
        ..Reader::default()
    };
    let mut writer = Writer::new(&lanes, &mut reader);
    let _ = print(&lanes, 1, "one\ntwo\n");
    assert!(writer.round() && !writer.round());
    assert_eq!(lanes.dropped(), 2, "the reader had closed");
    let _ = print(&lanes, 1, "three\n");
    assert!(writer.round() && !writer.round());
    assert_eq!(reader.got, b"three\n", "a count that cannot be printed is not kept");
}

#[test]
fn a_flush_waits_until_all_lines_are_printed() {
    static LANES: Lanes = Lanes::new();
    static GOT: Mutex<Vec<u8>> = Mutex::new(Vec::new());
    struct Slow;
    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            std::thread::sleep(Duration::from_millis(20));
            GOT.lock().expect("no panic").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    LANES.wait(Duration::from_secs(60), || panic!("there is nothing to wait for"));
    let _ = print(&LANES, 1, "line\n");
    LANES.wait(Duration::from_secs(60), || {
        std::thread::spawn(|| Writer::new(&LANES, Slow).round());
    });
    assert_eq!(*GOT.lock().expect("no panic"), b"line\n");
}

#[test]
fn a_json_line_is_one_object() {
    let mut line = Vec::new();
    let fields =
        std::collections::BTreeMap::from([("name", Text(|out: &mut Vec<u8>| out.extend_from_slice(b"a\\000.\n")))]);
    record::append(&mut line, Level::Warning, "log", format_args!("say \"{}\"", 1), fields);
    let text = String::from_utf8(line).expect("text");
    let (head, rest) = text.split_once(',').expect("a time");
    let time = head.strip_prefix("{\"time\":\"").and_then(|time| time.strip_suffix('"')).expect("a time");
    assert!(time.parse::<jiff::Timestamp>().is_ok(), "{time}");
    let expected = r#""level":"WARN","msg":"say \"1\"","plugin":"log","name":"a\\000.\n"}"#;
    assert_eq!(rest, format!("{expected}\n"));
    let mut line = Vec::new();
    record::append(&mut line, Level::Info, "", "hello", Nothing {});
    let text = String::from_utf8(line).expect("text");
    assert!(text.ends_with(",\"level\":\"INFO\",\"msg\":\"hello\"}\n"), "{text}");
}
