//! Functions and operators of numbers.

use super::cost::Cost;
use super::tree::Binary;
use super::value::Value;

type Made<'e> = Result<Value<'e>, String>;

/// Returns the first argument as a float.
fn float_of(arguments: &[Value<'_>], name: &str) -> Result<f64, String> {
    let argument = arguments.first().unwrap_or(&Value::Nil);
    argument.as_float().ok_or_else(|| format!("invalid argument for {name} (type {})", argument.type_name()))
}

pub(super) fn int<'e>(arguments: &[Value<'e>], _: &mut Cost) -> Made<'e> {
    match arguments {
        [Value::Int(number)] => Ok(Value::Int(*number)),
        [Value::Float(number)] => Ok(Value::Int(*number as i64)),
        [Value::Text(text)] => {
            let number = text.parse().map_err(|_| format!("invalid operation: int({text})"))?;
            Ok(Value::Int(number))
        }
        _ => float_of(arguments, "int").map(Value::Float),
    }
}

pub(super) fn float<'e>(arguments: &[Value<'e>], _: &mut Cost) -> Made<'e> {
    match arguments {
        [Value::Text(text)] => {
            let number = text.parse().map_err(|_| format!("invalid operation: float({text})"))?;
            Ok(Value::Float(number))
        }
        _ => float_of(arguments, "float").map(Value::Float),
    }
}

pub(super) fn abs<'e>(arguments: &[Value<'e>], _: &mut Cost) -> Made<'e> {
    match arguments {
        [Value::Int(number)] => Ok(Value::Int(number.wrapping_abs())),
        _ => Ok(Value::Float(float_of(arguments, "abs")?.abs())),
    }
}

pub(super) fn ceil<'e>(arguments: &[Value<'e>], _: &mut Cost) -> Made<'e> {
    Ok(Value::Float(float_of(arguments, "ceil")?.ceil()))
}

pub(super) fn floor<'e>(arguments: &[Value<'e>], _: &mut Cost) -> Made<'e> {
    Ok(Value::Float(float_of(arguments, "floor")?.floor()))
}

pub(super) fn round<'e>(arguments: &[Value<'e>], _: &mut Cost) -> Made<'e> {
    Ok(Value::Float(float_of(arguments, "round")?.round()))
}

pub(super) fn max<'e>(arguments: &[Value<'e>], cost: &mut Cost) -> Made<'e> {
    extreme(arguments, cost, "max", |new, old| new > old)
}

pub(super) fn min<'e>(arguments: &[Value<'e>], cost: &mut Cost) -> Made<'e> {
    extreme(arguments, cost, "min", |new, old| new < old)
}

/// Returns the number that wins over all others, those in lists included.
fn extreme<'e>(arguments: &[Value<'e>], cost: &mut Cost, name: &str, wins: fn(f64, f64) -> bool) -> Made<'e> {
    let mut best: Option<Value<'e>> = None;
    for argument in arguments {
        cost.charge(1)?;
        let one = match argument {
            Value::List(list) if list.elements().iter().all(|element| !matches!(element, Value::List(_))) => {
                cost.charge(list.elements().len())?;
                match extreme(list.elements(), cost, name, wins)? {
                    Value::Nil => continue,
                    one => one,
                }
            }
            one => one.clone(),
        };
        let number = one.as_float().ok_or_else(|| format!("invalid argument for {name} (type {})", one.type_name()))?;
        if best.as_ref().and_then(Value::as_float).is_none_or(|old| wins(number, old)) {
            best = Some(one);
        }
    }
    Ok(best.unwrap_or(Value::Nil))
}

pub(super) fn bit_and<'e>(arguments: &[Value<'e>], _: &mut Cost) -> Made<'e> {
    bits(arguments, |one, other| one & other)
}

pub(super) fn bit_or<'e>(arguments: &[Value<'e>], _: &mut Cost) -> Made<'e> {
    bits(arguments, |one, other| one | other)
}

pub(super) fn bit_xor<'e>(arguments: &[Value<'e>], _: &mut Cost) -> Made<'e> {
    bits(arguments, |one, other| one ^ other)
}

fn bits<'e>(arguments: &[Value<'e>], operation: fn(i64, i64) -> i64) -> Made<'e> {
    match arguments {
        [Value::Int(one), Value::Int(other)] => Ok(Value::Int(operation(*one, *other))),
        _ => Err("bits are those of whole numbers".to_owned()),
    }
}

pub(super) fn mismatch(operator: Binary, one: &Value<'_>, other: &Value<'_>) -> String {
    format!("invalid operation: {} {} {}", one.type_name(), operator.shown(), other.type_name())
}

/// Calculates as Go does: whole numbers wrap around, and division gives a float.
pub(super) fn arithmetic<'e>(operator: Binary, one: &Value<'e>, other: &Value<'e>) -> Made<'e> {
    if let (Value::Int(one), Value::Int(other)) = (one, other) {
        match operator {
            Binary::Add => return Ok(Value::Int(one.wrapping_add(*other))),
            Binary::Subtract => return Ok(Value::Int(one.wrapping_sub(*other))),
            Binary::Multiply => return Ok(Value::Int(one.wrapping_mul(*other))),
            Binary::Remainder if *other == 0 => return Err("integer divide by zero".to_owned()),
            Binary::Remainder => return Ok(Value::Int(one.wrapping_rem(*other))),
            _ => {}
        }
    }
    let (Some(a), Some(b)) = (one.as_float(), other.as_float()) else { return Err(mismatch(operator, one, other)) };
    Ok(Value::Float(match operator {
        Binary::Add => a + b,
        Binary::Subtract => a - b,
        Binary::Multiply => a * b,
        Binary::Divide => a / b,
        Binary::Power => a.powf(b),
        _ => return Err(mismatch(operator, one, other)),
    }))
}
