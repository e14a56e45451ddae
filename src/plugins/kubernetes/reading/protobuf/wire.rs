//! Protobuf's wire form: fields one after the other, each with a number and the form of its value.

/// The octets end too early, or a number is longer than it can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// A field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field<'a> {
    pub(super) number: u64,
    pub(super) value: Value<'a>,
}

/// What a field holds. The wire form says no more of its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// A number or a truth.
    Number(u64),
    /// A text, octets or a message.
    Octets(&'a [u8]),
    /// A number of fixed width; nothing that we read has one.
    Fixed,
}

/// The fields of a message in their order, up to the first malformed one.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

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
            // Groups are older than Kubernetes.
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
