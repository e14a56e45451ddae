//! DNS numbers and their names: types, classes, RCODEs, opcodes.

use std::fmt;

/// Record types that this program names; any other type is a plain number (RFC 3597).
pub mod rtype {
    /// IPv4 address (RFC 1035).
    pub const A: u16 = 1;
    /// Name server (RFC 1035).
    pub const NS: u16 = 2;
    /// Alias (RFC 1035).
    pub const CNAME: u16 = 5;
    /// Start of authority (RFC 1035).
    pub const SOA: u16 = 6;
    /// Pointer (RFC 1035).
    pub const PTR: u16 = 12;
    /// Host information (RFC 1035); the type of loop probes.
    pub const HINFO: u16 = 13;
    /// Mail exchange (RFC 1035).
    pub const MX: u16 = 15;
    /// Text (RFC 1035).
    pub const TXT: u16 = 16;
    /// Sender policy, as TXT (RFC 7208 section 3.1).
    pub const SPF: u16 = 99;
    /// Certification authority authorization (RFC 8659).
    pub const CAA: u16 = 257;
    /// IPv6 address (RFC 3596).
    pub const AAAA: u16 = 28;
    /// Service location (RFC 2782).
    pub const SRV: u16 = 33;
    /// Rewriting of names (RFC 3403).
    pub const NAPTR: u16 = 35;
    /// Redirection of a subtree (RFC 6672).
    pub const DNAME: u16 = 39;
    /// EDNS pseudo-record (RFC 6891).
    pub const OPT: u16 = 41;
    /// Delegation signer (RFC 4034).
    pub const DS: u16 = 43;
    /// Signature (RFC 4034).
    pub const RRSIG: u16 = 46;
    /// Proof that a name or type does not exist (RFC 4034).
    pub const NSEC: u16 = 47;
    /// Public key of a zone (RFC 4034).
    pub const DNSKEY: u16 = 48;
    /// NSEC with hashed names (RFC 5155).
    pub const NSEC3: u16 = 50;
    /// How names are hashed (RFC 5155).
    pub const NSEC3PARAM: u16 = 51;
    /// The DS record that the parent should have (RFC 7344).
    pub const CDS: u16 = 59;
    /// The key that the parent should make it of (RFC 7344).
    pub const CDNSKEY: u16 = 60;
    /// Service binding (RFC 9460).
    pub const SVCB: u16 = 64;
    /// Service binding of HTTPS (RFC 9460).
    pub const HTTPS: u16 = 65;
    /// Signature of a message (RFC 8945).
    pub const TSIG: u16 = 250;
    /// Incremental transfer (RFC 1995).
    pub const IXFR: u16 = 251;
    /// Zone transfer (RFC 5936).
    pub const AXFR: u16 = 252;
    /// All types (RFC 8482).
    pub const ANY: u16 = 255;
}

/// Classes.
pub mod class {
    /// Any class, in a question.
    pub const ANY: u16 = 255;
    /// The Internet.
    pub const IN: u16 = 1;
    /// Chaos, used for `version.bind` and the like.
    pub const CH: u16 = 3;
}

/// Response codes (RFC 6895).
pub mod rcode {
    /// No error.
    pub const NOERROR: u16 = 0;
    /// The query is malformed.
    pub const FORMERR: u16 = 1;
    /// The server failed.
    pub const SERVFAIL: u16 = 2;
    /// The name does not exist.
    pub const NXDOMAIN: u16 = 3;
    /// The opcode is not implemented.
    pub const NOTIMP: u16 = 4;
    /// Refused by policy.
    pub const REFUSED: u16 = 5;
    /// A name would be too long after a DNAME (RFC 6672 section 2.2).
    pub const YXDOMAIN: u16 = 6;
    /// The signature of the message is not accepted (RFC 8945 section 3).
    pub const NOTAUTH: u16 = 9;
    /// Unknown EDNS version (RFC 6891): an extended code.
    pub const BADVERS: u16 = 16;
}

/// Opcodes (RFC 6895).
pub mod opcode {
    /// A standard query.
    pub const QUERY: u8 = 0;
    /// A zone has changed (RFC 1996).
    pub const NOTIFY: u8 = 4;
}

/// Opcodes by name.
const OPCODES: &[(u8, &str)] = &[(0, "QUERY"), (1, "IQUERY"), (2, "STATUS"), (4, "NOTIFY"), (5, "UPDATE")];

const TYPES: &[(u16, &str)] = &[
    (1, "A"),
    (2, "NS"),
    (3, "MD"),
    (4, "MF"),
    (5, "CNAME"),
    (6, "SOA"),
    (7, "MB"),
    (8, "MG"),
    (9, "MR"),
    (10, "NULL"),
    (12, "PTR"),
    (13, "HINFO"),
    (14, "MINFO"),
    (15, "MX"),
    (16, "TXT"),
    (17, "RP"),
    (18, "AFSDB"),
    (24, "SIG"),
    (25, "KEY"),
    (28, "AAAA"),
    (29, "LOC"),
    (33, "SRV"),
    (35, "NAPTR"),
    (36, "KX"),
    (37, "CERT"),
    (39, "DNAME"),
    (41, "OPT"),
    (42, "APL"),
    (43, "DS"),
    (44, "SSHFP"),
    (45, "IPSECKEY"),
    (46, "RRSIG"),
    (47, "NSEC"),
    (48, "DNSKEY"),
    (49, "DHCID"),
    (50, "NSEC3"),
    (51, "NSEC3PARAM"),
    (52, "TLSA"),
    (53, "SMIMEA"),
    (55, "HIP"),
    (59, "CDS"),
    (60, "CDNSKEY"),
    (61, "OPENPGPKEY"),
    (62, "CSYNC"),
    (63, "ZONEMD"),
    (64, "SVCB"),
    (65, "HTTPS"),
    (99, "SPF"),
    (104, "NID"),
    (105, "L32"),
    (106, "L64"),
    (107, "LP"),
    (108, "EUI48"),
    (109, "EUI64"),
    (249, "TKEY"),
    (250, "TSIG"),
    (251, "IXFR"),
    (252, "AXFR"),
    (253, "MAILB"),
    (254, "MAILA"),
    (255, "ANY"),
    (256, "URI"),
    (257, "CAA"),
    (32768, "TA"),
    (32769, "DLV"),
];

const CLASSES: &[(u16, &str)] = &[(1, "IN"), (2, "CS"), (3, "CH"), (4, "HS"), (254, "NONE"), (255, "ANY")];

const RCODES: &[(u16, &str)] = &[
    (0, "NOERROR"),
    (1, "FORMERR"),
    (2, "SERVFAIL"),
    (3, "NXDOMAIN"),
    (4, "NOTIMP"),
    (5, "REFUSED"),
    (6, "YXDOMAIN"),
    (7, "YXRRSET"),
    (8, "NXRRSET"),
    (9, "NOTAUTH"),
    (10, "NOTZONE"),
    (11, "DSOTYPENI"),
    (16, "BADVERS"),
    (17, "BADKEY"),
    (18, "BADTIME"),
    (19, "BADMODE"),
    (20, "BADNAME"),
    (21, "BADALG"),
    (22, "BADTRUNC"),
    (23, "BADCOOKIE"),
];

/// Writes a type as text: its mnemonic, or `TYPE65280` (RFC 3597 section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TypeText(pub u16);

impl fmt::Display for TypeText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match type_name(self.0) {
            Some(name) => f.write_str(name),
            None => write!(f, "TYPE{}", self.0),
        }
    }
}

/// Returns the mnemonic of a type, if it has one.
#[must_use]
pub fn type_name(rtype: u16) -> Option<&'static str> {
    lookup(TYPES, rtype)
}

/// Returns the type of a mnemonic in upper case.
#[must_use]
pub fn type_number(name: &str) -> Option<u16> {
    TYPES.iter().find(|(_, known)| *known == name).map(|(number, _)| *number)
}

/// Returns the class of a mnemonic in upper case.
#[must_use]
pub fn class_number(name: &str) -> Option<u16> {
    CLASSES.iter().find(|(_, known)| *known == name).map(|(number, _)| *number)
}

/// Returns the mnemonic of a class, if it has one.
#[must_use]
pub fn class_name(class: u16) -> Option<&'static str> {
    lookup(CLASSES, class)
}

/// Returns the opcode of a mnemonic in upper case.
#[must_use]
pub fn opcode_number(name: &str) -> Option<u8> {
    OPCODES.iter().find(|(_, known)| *known == name).map(|(number, _)| *number)
}

/// Returns the mnemonic of an RCODE, if it has one.
#[must_use]
pub fn rcode_name(rcode: u16) -> Option<&'static str> {
    lookup(RCODES, rcode)
}

/// Returns the RCODE of a mnemonic in upper case.
#[must_use]
pub fn rcode_number(name: &str) -> Option<u16> {
    RCODES.iter().find(|(_, known)| *known == name).map(|(number, _)| *number)
}

fn lookup(table: &[(u16, &'static str)], number: u16) -> Option<&'static str> {
    table.binary_search_by_key(&number, |(n, _)| *n).ok().map(|at| table[at].1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted() {
        assert!(TYPES.is_sorted() && RCODES.is_sorted());
        assert_eq!((type_name(65), type_number("SRV"), rcode_name(3)), (Some("HTTPS"), Some(33), Some("NXDOMAIN")));
    }
}
