//! Functions of lists.

use std::cmp::Ordering;

use super::cost::Cost;
use super::texts;
use super::value::Value;

type Made<'e> = Result<Value<'e>, String>;

/// Returns the elements of an argument that has to be a list.
fn list<'a, 'e>(arguments: &'a [Value<'e>], cost: &mut Cost) -> Result<&'a [Value<'e>], String> {
    match arguments.first() {
        Some(Value::List(list)) => {
            cost.charge(list.elements().len())?;
            Ok(list.elements())
        }
        other => Err(format!("cannot use {} as a list", other.map_or("nothing", Value::type_name))),
    }
}

/// Returns an argument that has to be a whole number.
fn number(arguments: &[Value<'_>], index: usize) -> Result<i64, String> {
    match arguments.get(index) {
        Some(Value::Int(number)) => Ok(*number),
        other => Err(format!("cannot use {} as an integer", other.map_or("nothing", Value::type_name))),
    }
}

/// Returns an index into a list of this length; negative numbers count from the end.
pub(super) fn place(number: i64, length: usize) -> Option<usize> {
    let number = if number < 0 { number.checked_add(i64::try_from(length).ok()?)? } else { number };
    usize::try_from(number).ok().filter(|index| *index < length)
}

pub(super) fn len<'e>(arguments: &[Value<'e>], cost: &mut Cost) -> Made<'e> {
    let length = match arguments {
        [Value::Text(text)] => {
            cost.charge_text(text.len())?;
            text.chars().count()
        }
        _ => list(arguments, cost)?.len(),
    };
    Ok(Value::Int(length as i64))
}

pub(super) fn first<'e>(arguments: &[Value<'e>], cost: &mut Cost) -> Made<'e> {
    Ok(list(arguments, cost)?.first().cloned().unwrap_or(Value::Nil))
}

pub(super) fn last<'e>(arguments: &[Value<'e>], cost: &mut Cost) -> Made<'e> {
    Ok(list(arguments, cost)?.last().cloned().unwrap_or(Value::Nil))
}

pub(super) fn get<'e>(arguments: &[Value<'e>], cost: &mut Cost) -> Made<'e> {
    let elements = list(arguments, cost)?;
    let index = place(number(arguments, 1)?, elements.len());
    Ok(index.map_or(Value::Nil, |index| elements[index].clone()))
}

pub(super) fn take<'e>(arguments: &[Value<'e>], cost: &mut Cost) -> Made<'e> {
    let elements = list(arguments, cost)?;
    let most = usize::try_from(number(arguments, 1)?).map_err(|_| "cannot take a negative number of elements")?;
    Ok(Value::list(elements.iter().take(most).cloned()))
}

pub(super) fn reverse<'e>(arguments: &[Value<'e>], cost: &mut Cost) -> Made<'e> {
    Ok(Value::list(list(arguments, cost)?.iter().rev().cloned()))
}

pub(super) fn uniq<'e>(arguments: &[Value<'e>], cost: &mut Cost) -> Made<'e> {
    let mut kept: Vec<Value<'e>> = Vec::new();
    for element in list(arguments, cost)? {
        cost.charge(kept.len())?;
        if matches!(element, Value::List(_)) {
            kept.iter().try_for_each(|known| cost.charge_whole(known))?;
        }
        if !kept.contains(element) {
            kept.push(element.clone());
        }
    }
    Ok(Value::list(kept))
}

pub(super) fn concat<'e>(arguments: &[Value<'e>], cost: &mut Cost) -> Made<'e> {
    let mut all = Vec::new();
    for index in 0..arguments.len() {
        all.extend_from_slice(list(&arguments[index..], cost)?);
    }
    Ok(Value::list(all))
}

pub(super) fn flatten<'e>(arguments: &[Value<'e>], cost: &mut Cost) -> Made<'e> {
    let mut all = Vec::new();
    let mut open: Vec<Value<'e>> = list(arguments, cost)?.iter().rev().cloned().collect();
    while let Some(element) = open.pop() {
        cost.charge(1)?;
        match &element {
            Value::List(inner) => open.extend(inner.elements().iter().rev().cloned()),
            _ => all.push(element),
        }
    }
    Ok(Value::list(all))
}

pub(super) fn sort<'e>(arguments: &[Value<'e>], cost: &mut Cost) -> Made<'e> {
    let mut all = list(arguments, cost)?.to_vec();
    cost.charge(all.len().saturating_mul(16))?;
    if all.windows(2).any(|two| two[0].order(&two[1]).is_none()) {
        return Err("sort takes numbers or texts".to_owned());
    }
    let descends = match arguments.len() {
        1 => false,
        _ => match texts::text(arguments, 1)? {
            "asc" => false,
            "desc" => true,
            other => return Err(format!("invalid order {other}, expected asc or desc")),
        },
    };
    all.sort_by(|one, other| {
        let order = one.order(other).unwrap_or(Ordering::Equal);
        if descends { order.reverse() } else { order }
    });
    Ok(Value::list(all))
}
