//! Functions of texts.

use std::borrow::Cow;

use super::cost::Cost;
use super::value::Value;

type Made<'e> = Result<Value<'e>, String>;

/// Returns an argument that has to be a text.
pub(super) fn text<'a>(arguments: &'a [Value<'_>], index: usize) -> Result<&'a str, String> {
    match arguments.get(index) {
        Some(Value::Text(text)) => Ok(text),
        other => {
            let found = other.map_or("nothing", Value::type_name);
            Err(format!("interface conversion: interface {{}} is {found}, not string"))
        }
    }
}

/// Returns an optional argument that has to be a number; a negative one means no limit.
fn limit(arguments: &[Value<'_>], index: usize) -> Result<usize, String> {
    match arguments.get(index) {
        None => Ok(usize::MAX),
        Some(Value::Int(number)) => Ok(usize::try_from(*number).unwrap_or(usize::MAX)),
        Some(other) => Err(format!("interface conversion: interface {{}} is {}, not int", other.type_name())),
    }
}

fn owned<'e>(text: String, cost: &mut Cost) -> Made<'e> {
    cost.charge_text(text.len())?;
    Ok(Value::Text(Cow::Owned(text)))
}

pub(super) fn upper<'e>(arguments: &[Value<'e>], cost: &mut Cost) -> Made<'e> {
    owned(text(arguments, 0)?.to_uppercase(), cost)
}

pub(super) fn lower<'e>(arguments: &[Value<'e>], cost: &mut Cost) -> Made<'e> {
    owned(text(arguments, 0)?.to_lowercase(), cost)
}

pub(super) fn trim<'e>(arguments: &[Value<'e>], cost: &mut Cost) -> Made<'e> {
    let whole = text(arguments, 0)?;
    let trimmed = match arguments.len() {
        1 => whole.trim(),
        _ => {
            let set = text(arguments, 1)?;
            whole.trim_matches(|c| set.contains(c))
        }
    };
    owned(trimmed.to_owned(), cost)
}

pub(super) fn trim_prefix<'e>(arguments: &[Value<'e>], cost: &mut Cost) -> Made<'e> {
    let whole = text(arguments, 0)?;
    let prefix = if arguments.len() == 1 { " " } else { text(arguments, 1)? };
    owned(whole.strip_prefix(prefix).unwrap_or(whole).to_owned(), cost)
}

pub(super) fn trim_suffix<'e>(arguments: &[Value<'e>], cost: &mut Cost) -> Made<'e> {
    let whole = text(arguments, 0)?;
    let suffix = if arguments.len() == 1 { " " } else { text(arguments, 1)? };
    owned(whole.strip_suffix(suffix).unwrap_or(whole).to_owned(), cost)
}

pub(super) fn split<'e>(arguments: &[Value<'e>], cost: &mut Cost) -> Made<'e> {
    parts(arguments, cost, false)
}

pub(super) fn split_after<'e>(arguments: &[Value<'e>], cost: &mut Cost) -> Made<'e> {
    parts(arguments, cost, true)
}

/// Splits a text as Go does: an empty separator splits it into its characters.
fn parts<'e>(arguments: &[Value<'e>], cost: &mut Cost, keeps: bool) -> Made<'e> {
    let (whole, separator, most) = (text(arguments, 0)?, text(arguments, 1)?, limit(arguments, 2)?);
    cost.charge(whole.len())?;
    let (mut parts, mut rest) = (Vec::new(), whole);
    while most > 0 && parts.len() + 1 < most {
        let found = match separator {
            "" => rest.chars().next().map(char::len_utf8).filter(|len| *len < rest.len()),
            _ => rest.find(separator),
        };
        let Some(at) = found else { break };
        let end = at + separator.len();
        parts.push(&rest[..if keeps { end } else { at }]);
        rest = &rest[end..];
    }
    if most > 0 && !(separator.is_empty() && rest.is_empty()) {
        parts.push(rest);
    }
    Ok(Value::list(parts.into_iter().map(|part| Value::Text(Cow::Owned(part.to_owned())))))
}

pub(super) fn replace<'e>(arguments: &[Value<'e>], cost: &mut Cost) -> Made<'e> {
    let (whole, from, to) = (text(arguments, 0)?, text(arguments, 1)?, text(arguments, 2)?);
    let most = limit(arguments, 3)?;
    // Charged before the new text is made, which may be much longer than the old one.
    let count = whole.matches(from).count().min(most);
    cost.charge_text(whole.len().saturating_add(count.saturating_mul(to.len())))?;
    owned(whole.replacen(from, to, most), cost)
}

pub(super) fn repeat<'e>(arguments: &[Value<'e>], cost: &mut Cost) -> Made<'e> {
    let whole = text(arguments, 0)?;
    let Some(Value::Int(times)) = arguments.get(1) else { return Err("repeat takes a number".to_owned()) };
    let times = usize::try_from(*times).map_err(|_| "invalid argument for repeat (expected positive integer)")?;
    cost.charge_text(whole.len().saturating_mul(times))?;
    owned(whole.repeat(times), cost)
}

pub(super) fn join<'e>(arguments: &[Value<'e>], cost: &mut Cost) -> Made<'e> {
    let Some(Value::List(list)) = arguments.first() else { return Err("join takes a list".to_owned()) };
    let separator = if arguments.len() == 1 { "" } else { text(arguments, 1)? };
    let mut joined = String::new();
    for index in 0..list.elements().len() {
        let part = text(list.elements(), index)?;
        cost.charge_text(part.len() + separator.len())?;
        if index > 0 {
            joined.push_str(separator);
        }
        joined.push_str(part);
    }
    owned(joined, cost)
}

fn place<'e>(found: Option<usize>) -> Made<'e> {
    Ok(Value::Int(found.and_then(|at| i64::try_from(at).ok()).unwrap_or(-1)))
}

pub(super) fn index_of<'e>(arguments: &[Value<'e>], cost: &mut Cost) -> Made<'e> {
    cost.charge_text(text(arguments, 0)?.len())?;
    place(text(arguments, 0)?.find(text(arguments, 1)?))
}

pub(super) fn last_index_of<'e>(arguments: &[Value<'e>], cost: &mut Cost) -> Made<'e> {
    cost.charge_text(text(arguments, 0)?.len())?;
    place(text(arguments, 0)?.rfind(text(arguments, 1)?))
}

pub(super) fn has_prefix<'e>(arguments: &[Value<'e>], _: &mut Cost) -> Made<'e> {
    Ok(Value::Bool(text(arguments, 0)?.starts_with(text(arguments, 1)?)))
}

pub(super) fn has_suffix<'e>(arguments: &[Value<'e>], _: &mut Cost) -> Made<'e> {
    Ok(Value::Bool(text(arguments, 0)?.ends_with(text(arguments, 1)?)))
}

pub(super) fn string<'e>(arguments: &[Value<'e>], cost: &mut Cost) -> Made<'e> {
    arguments.iter().try_for_each(|argument| cost.charge_whole(argument))?;
    owned(arguments.first().map(ToString::to_string).unwrap_or_default(), cost)
}
