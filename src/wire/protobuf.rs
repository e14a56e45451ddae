//! Protobuf's wire form: fields one after the other, each with a number and the form of its value.

/// The octets end too early, or a number is longer than it can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// A field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its number.
    pub number: u64,
    /// What it holds.
    pub value: Value<'a>,
}

/// What a field holds. The wire form says no more of its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// A number or a truth.
    Number(u64),
    /// A text, octets or a message.
    Octets(&'a [u8]),
    /// A number of fixed width; nothing that we read has one.
    Fixed,
}

/// The fields of a message in their order, up to the first malformed one.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field.ok_or(Malformed))
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Option<Field<'a>> {
        let tag = self.number()?;
        let value = match tag & 7 {
            0 => Value::Number(self.number()?),
            1 => self.octets(8).map(|_| Value::Fixed)?,
            2 => {
                let len = self.number()?.try_into().ok()?;
                Value::Octets(self.octets(len)?)
            }
            5 => self.octets(4).map(|_| Value::Fixed)?,
            // Groups: no message that is read here has them.
            _ => return None,
        };
        Some(Field { number: tag >> 3, value })
    }

    /// Seven bits an octet, the lowest first; the last octet is below 128.
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (&octet, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(octet & 0x7f) << shift;
            if octet < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn octets(&mut self, len: usize) -> Option<&'a [u8]> {
        let (octets, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(octets)
    }
}

/// Appends a number as a field, whose own number is at most 15.
pub fn put_number(out: &mut Vec<u8>, field: u8, number: u64) {
    out.push(field << 3);
    put_varint(out, number);
}

/// Appends octets as a field, whose number is at most 15.
pub fn put_octets(out: &mut Vec<u8>, field: u8, octets: &[u8]) {
    out.push(field << 3 | 2);
    put_varint(out, octets.len() as u64);
    out.extend_from_slice(octets);
}

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_one_after_the_other() {
        let message = b"\x08\x96\x01\x12\x03abc\x1d1234\x21ABCDEFGH\x28\x00";
        let fields: Result<Vec<_>, _> = Fields(message).collect();
        let field = |number, value| Field { number, value };
        let (number, octets) = (field(1, Value::Number(150)), field(2, Value::Octets(b"abc")));
        let fixed = [field(3, Value::Fixed), field(4, Value::Fixed)];
        assert_eq!(fields, Ok(vec![number, octets, fixed[0], fixed[1], field(5, Value::Number(0))]));
        let minus_one = b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
        assert_eq!(Fields(minus_one).next(), Some(Ok(field(1, Value::Number(u64::MAX)))));
    }

    #[test]
    fn what_is_written_is_read() {
        let mut out = Vec::new();
        put_number(&mut out, 15, u64::MAX);
        put_octets(&mut out, 1, &[7; 300]);
        let fields: Result<Vec<_>, _> = Fields(&out).collect();
        let number = Field { number: 15, value: Value::Number(u64::MAX) };
        assert_eq!(fields, Ok(vec![number, Field { number: 1, value: Value::Octets(&[7; 300]) }]));
    }

    #[test]
    fn what_is_cut_off_ends_it() {
        for bad in [
            &b"\x08"[..],
            b"\x08\x80",
            b"\x12\x04abc",
            b"\x0b",
            b"\x1d123",
            b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
        ] {
            assert_eq!(Fields(bad).collect::<Vec<_>>(), [Err(Malformed)], "{bad:?}");
        }
        assert_eq!(Fields(b"\x08\x01\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01").last(), Some(Err(Malformed)));
    }
}
