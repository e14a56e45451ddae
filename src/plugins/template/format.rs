//! Reads and writes numbers and texts as Go does: `parseInt`, `printf`, quoted texts.

use super::expression::Value;

/// Reads a whole number in Go's notation: `10`, `-3`, `0x1f`.
pub(super) fn number(text: &str) -> Option<i128> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let value = match digits.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok()?,
        None if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok()?,
        None => return None,
    };
    Some(sign * i128::from(value))
}

/// Reads an unsigned number of at most `bits` bits. `base` is 2 to 36, or 0 for the base that the
/// prefix of the number says, ten without one. No bits (0) means 64.
pub(super) fn parse_int(text: &str, base: i128, bits: i128) -> Result<i128, String> {
    let wrong = |why: &str| format!("error calling parseInt: parsing \"{text}\": {why}");
    let (radix, digits) = match base {
        0 => match text.as_bytes() {
            [b'0', b'x' | b'X', ..] => (16, &text[2..]),
            [b'0', b'b' | b'B', ..] => (2, &text[2..]),
            [b'0', b'o' | b'O', ..] => (8, &text[2..]),
            [b'0', _, ..] => (8, &text[1..]),
            _ => (10, text),
        },
        2..=36 => (base as u32, text),
        _ => return Err(wrong("invalid base")),
    };
    let bits = match bits {
        0 => 64,
        1..=64 => bits as u32,
        _ => return Err(wrong("invalid bit size")),
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return Err(wrong("invalid syntax"));
    }
    let value = u64::from_str_radix(digits, radix).map_err(|_| wrong("value out of range"))?;
    if bits < 64 && value >> bits != 0 { Err(wrong("value out of range")) } else { Ok(value.into()) }
}

/// Resolves the escapes of a text in double quotes.
pub(super) fn unquote(text: &str) -> Result<String, String> {
    let (mut out, mut chars) = (String::new(), text.chars());
    while let Some(c) = chars.next() {
        out.push(match c {
            '\\' => match chars.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                Some(c @ ('"' | '\\')) => c,
                _ => return Err(format!("an escape in \"{text}\" that is not served: \\n, \\t, \\\" and \\\\ are")),
            },
            c => c,
        });
    }
    Ok(out)
}

/// Writes values as `how` says: `%s`, `%v`, `%d`, `%x`, `%X`, `%o`, `%b` and `%%`, with an optional
/// width and `0` or `-` in front of it.
pub(super) fn printf(how: &str, values: &[Value<'_>]) -> Result<String, String> {
    let (mut out, mut values, mut rest) = (String::new(), values.iter(), how);
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let flags = rest.len() - rest.trim_start_matches(['0', '-']).len();
        let (zero, left) = (rest[..flags].contains('0'), rest[..flags].contains('-'));
        let digits = rest[flags..].bytes().take_while(u8::is_ascii_digit).count();
        let width: usize = rest[flags..flags + digits].parse().unwrap_or_default();
        let mut verb = rest[flags + digits..].chars();
        let kind = verb.next().ok_or("error calling printf: nothing behind %")?;
        rest = verb.as_str();
        if kind == '%' {
            out.push('%');
            continue;
        }
        if width > 255 {
            return Err(format!("error calling printf: a width of {width}"));
        }
        let value = values.next().ok_or_else(|| format!("error calling printf: no value for %{kind}"))?;
        let text = verb_text(kind, value)?;
        let missing = width.saturating_sub(text.chars().count());
        match (left, zero) {
            (true, _) => out.extend(text.chars().chain(std::iter::repeat_n(' ', missing))),
            (false, true) => out.extend(std::iter::repeat_n('0', missing).chain(text.chars())),
            (false, false) => out.extend(std::iter::repeat_n(' ', missing).chain(text.chars())),
        }
    }
    out.push_str(rest);
    Ok(out)
}

fn verb_text(kind: char, value: &Value<'_>) -> Result<String, String> {
    let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    Ok(match (kind, value) {
        ('v', value) => value.shown().into_owned(),
        ('s', Value::Text(text)) => text.to_string(),
        ('x', Value::Text(text)) => hex(text),
        ('X', Value::Text(text)) => hex(text).to_uppercase(),
        ('d', Value::Number(number)) => number.to_string(),
        ('x', Value::Number(number)) => format!("{number:x}"),
        ('X', Value::Number(number)) => format!("{number:X}"),
        ('o', Value::Number(number)) => format!("{number:o}"),
        ('b', Value::Number(number)) => format!("{number:b}"),
        _ => return Err(format!("error calling printf: %{kind} does not fit its value")),
    })
}
