//! `$GENERATE`: one line for each number of a range, as BIND and CoreDNS read it.

/// Maximum number of lines of one `$GENERATE`, minus one.
const MOST_STEPS: i64 = 65_535;

/// The numbers of a `$GENERATE`: `12-24/2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    start: i64,
    end: i64,
    step: i64,
}

impl Range {
    /// Reads a range.
    pub(super) fn read(word: &str) -> Result<Self, &'static str> {
        let (range, step) = match word.split_once('/') {
            Some((range, step)) => {
                let step = step.parse().ok().filter(|&step: &i64| step > 0);
                (range, step.ok_or("bad step in $GENERATE range")?)
            }
            None => (word, 1),
        };
        let (start, end) = range.split_once('-').ok_or("bad start-stop in $GENERATE range")?;
        let start: i64 = start.parse().map_err(|_| "bad start in $GENERATE range")?;
        let end: i64 = end.parse().map_err(|_| "bad stop in $GENERATE range")?;
        if start < 0 || end < start || (end - start) / step > MOST_STEPS {
            return Err("bad range in $GENERATE range");
        }
        Ok(Self { start, end, step })
    }

    /// Returns the numbers.
    pub(super) fn numbers(self) -> impl Iterator<Item = i64> {
        std::iter::successors(Some(self.start), move |number| number.checked_add(self.step))
            .take_while(move |&number| number <= self.end)
    }

    /// Returns the line for one number: `$` stands for it, `$$` and `\$` for a dollar sign, and
    /// `${OFFSET,WIDTH,BASE}` for another form of it.
    pub(super) fn line(self, template: &str, number: i64) -> Result<String, &'static str> {
        let (mut line, mut rest) = (String::with_capacity(template.len()), template);
        while let Some(at) = rest.find(['$', '\\']) {
            line.push_str(&rest[..at]);
            let after = &rest[at + 1..];
            if rest[at..].starts_with('\\') {
                let escaped = after.chars().next();
                // `\\` gives `\`, and `\$` gives `$`. Other escaped characters are dropped as well.
                line.extend(escaped.filter(|escaped| matches!(escaped, '\\' | '$')));
                rest = &after[escaped.map_or(0, char::len_utf8)..];
            } else if let Some(after) = after.strip_prefix('$') {
                line.push('$');
                rest = after;
            } else if let Some(after) = after.strip_prefix('{') {
                let (form, after) = after.split_once('}').ok_or("bad modifier in $GENERATE")?;
                let form = Form::read(form)?;
                if self.start + form.offset.min(0) < 0 || self.end.saturating_add(form.offset) > i64::from(i32::MAX) {
                    return Err("bad offset in $GENERATE");
                }
                line.push_str(&form.write(number));
                rest = after;
            } else {
                line.push_str(&number.to_string());
                rest = after;
            }
        }
        line.push_str(rest);
        Ok(line)
    }
}

/// How a number is written: `OFFSET[,WIDTH[,BASE]]`.
struct Form<'a> {
    offset: i64,
    width: usize,
    base: &'a str,
}

impl<'a> Form<'a> {
    fn read(text: &'a str) -> Result<Self, &'static str> {
        let mut parts = text.split(',');
        let (offset, width, base) = (parts.next(), parts.next().unwrap_or("0"), parts.next().unwrap_or("d"));
        if parts.next().is_some() {
            return Err("bad modifier in $GENERATE");
        }
        if !matches!(base, "o" | "d" | "x" | "X") {
            return Err("bad base in $GENERATE");
        }
        let offset = offset.and_then(|offset| offset.parse().ok()).filter(|offset: &i64| offset.abs() <= 1 << 31);
        let width = width.parse::<u8>().map_err(|_| "bad width in $GENERATE")?;
        Ok(Self { offset: offset.ok_or("bad offset in $GENERATE")?, width: usize::from(width), base })
    }

    fn write(&self, number: i64) -> String {
        let (number, width) = (number + self.offset, self.width);
        match self.base {
            "o" => format!("{number:0width$o}"),
            "x" => format!("{number:0width$x}"),
            "X" => format!("{number:0width$X}"),
            _ => format!("{number:0width$}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(range: &str, template: &str) -> Result<Vec<String>, &'static str> {
        let range = Range::read(range)?;
        range.numbers().map(|number| range.line(template, number)).collect()
    }

    #[test]
    fn ranges_and_forms() {
        assert_eq!(
            all("1-3", "h$ A 10.0.0.$"),
            Ok(["h1 A 10.0.0.1", "h2 A 10.0.0.2", "h3 A 10.0.0.3"].map(str::to_owned).to_vec())
        );
        assert_eq!(
            all("0-20/10", "${5,3}-${0,2,x}-${0,0,X}$$\\$"),
            Ok(["005-00-0$$", "015-0a-A$$", "025-14-14$$"].map(str::to_owned).to_vec())
        );
        assert_eq!(all("0-65535", "$").map(|lines| lines.len()), Ok(65_536));
    }

    #[test]
    fn what_is_wrong_is_refused() {
        for range in ["1", "2-1", "a-2", "1-b", "1-2/0", "1-2/", "-1-2", "0-65536"] {
            assert!(Range::read(range).is_err(), "{range}");
        }
        for template in ["${", "${a}", "${0,300}", "${0,1,b}", "${0,1,d,1}", "${-2}", "${2147483647}"] {
            assert!(all("1-2", template).is_err(), "{template}");
        }
    }
}
