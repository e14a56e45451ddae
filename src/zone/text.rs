//! Writes records as lines of a zone file.

use std::fmt::Write;

use domain::base::iana::Rtype;
use domain::base::name::ParsedName;
use domain::base::rdata::ParseRecordData;
use domain::base::zonefile_fmt::{DisplayKind, ZonefileFmt};
use domain::dep::octseq::Parser;
use domain::rdata::ZoneRecordData;

use super::data::ZoneRecord;
use super::scan::Scanner;
use crate::wire::name::Name;
use crate::wire::types::TypeText;

/// Writes records, in the form in which they are read.
pub struct LineWriter(Scanner);

impl Default for LineWriter {
    fn default() -> Self {
        Self(Scanner::new())
    }
}

impl LineWriter {
    /// Appends a record as a line.
    pub fn put(&mut self, record: &ZoneRecord<'_>, out: &mut String) {
        let ZoneRecord { owner, rtype, ttl, data } = *record;
        let Some(owner) = Name::from_wire(owner) else { return };
        // A line that would be read as other data is written as octets (RFC 3597 section 5).
        let is_same = |text: &String| self.0.scan(&Name::ROOT, rtype, text).is_ok_and(|read| read == data);
        let text = shown(rtype, data).filter(is_same).unwrap_or_else(|| octets(data));
        // A line that begins with `$` is a directive.
        let escape = if owner.wire().get(1) == Some(&b'$') { "\\" } else { "" };
        let _ = writeln!(out, "{escape}{owner} {ttl} IN {} {text}", TypeText(rtype));
    }
}

/// Returns data as the crate `domain` writes them; `None` if it does not know the type.
fn shown(rtype: u16, data: &[u8]) -> Option<String> {
    let mut parser = Parser::from_ref(data);
    let data = ZoneRecordData::<_, ParsedName<_>>::parse_rdata(Rtype::from_int(rtype), &mut parser).ok()??;
    Some(data.display_zonefile(DisplayKind::Simple).to_string())
}

fn octets(data: &[u8]) -> String {
    let digits: String = data.iter().map(|octet| format!("{octet:02x}")).collect();
    format!("\\# {} {digits}", data.len())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::read::read;
    use super::*;

    #[test]
    fn a_zone_that_is_written_is_read_as_the_same() {
        let text = "@ 60 SOA ns host 1 2 3 4 5\n@ NS ns\nns A 192.0.2.1\nns AAAA 2001:db8::1\nt TXT \"a b\" \"c\\\"\\\\;\" d\\200\nm MX 5 Mail\n\
                    *.w CNAME a\\.b\ns SRV 1 2 3 H\nh HTTPS 1 . alpn=h2 port=8443\nc CAA 0 issue \"ca.test\"\nn NAPTR 1 2 \"u\" \"s\" \
                    \"!x!y!\" .\nu TYPE999 \\# 2 abcd\nl LOC 1 2 3 N 4 5 6 E 7m\nd DS 1 13 2 00112233\nr RRSIG A 8 2 300 20300101000000 \
                    20200101000000 1 @ AAAA\nx NSEC y A TYPE999\nk DNSKEY 257 3 13 AAAA\nuri URI 1 2 \"https://x\"\n";
        let origin = Name::from_text("z.test.").expect("a name");
        let zone =
            |text: &str| read(Path::new("db"), text.as_bytes(), &origin, None).ok().flatten().expect("a zone").zone;
        let (first, mut written, mut writer) = (zone(text), String::new(), LineWriter::default());
        first.records().for_each(|record| writer.put(&record, &mut written));
        let again = zone(&written);
        assert!(first.records().eq(again.records()), "{written}");
        assert!(
            written.contains("ns.z.test. 60 IN A 192.0.2.1\n") && written.contains("TYPE999 \\# 2 ab cd\n"),
            "{written}"
        );
    }
}
