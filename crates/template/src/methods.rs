//! Methods of Go's times and durations that templates call.

use kenning_gotext::duration;
use kenning_model::Nanos;

use crate::layout;
use crate::value::Value;

/// Calls a method. None when the value has no method of that name.
pub(crate) fn call(value: &Value, name: &str, args: &[Value]) -> Option<Result<Value, String>> {
    match value {
        Value::Time(time) => time_method(*time, name, args),
        Value::Duration(nanos) => duration_method(*nanos, name, args),
        _ => None,
    }
}

fn time_method(time: Nanos, name: &str, args: &[Value]) -> Option<Result<Value, String>> {
    let nanos = time.0;
    let part = |layout: &str| layout::format(layout, time).trim().parse().map_or(Value::Nil, Value::Int);
    let none = |value: Value| Some(expect(name, args, 0).map(|()| value));
    match name {
        "Format" => Some(expect(name, args, 1).and_then(|()| match args {
            [Value::Str(layout)] => Ok(Value::Str(layout::format(layout, time))),
            _ => Err(wrong_type("string", args)),
        })),
        "Add" => Some(expect(name, args, 1).and_then(|()| match args {
            [Value::Duration(step)] => Ok(Value::Time(Nanos(nanos.saturating_add(*step)))),
            _ => Err(wrong_type("time.Duration", args)),
        })),
        "Sub" => Some(expect(name, args, 1).and_then(|()| match args {
            [Value::Time(other)] => Ok(Value::Duration(nanos.saturating_sub(other.0))),
            _ => Err(wrong_type("time.Time", args)),
        })),
        "Before" | "After" | "Equal" => Some(expect(name, args, 1).and_then(|()| match args {
            [Value::Time(other)] => Ok(Value::Bool(match name {
                "Before" => nanos < other.0,
                "After" => nanos > other.0,
                _ => nanos == other.0,
            })),
            _ => Err(wrong_type("time.Time", args)),
        })),
        "Unix" => none(Value::Int(nanos.div_euclid(1_000_000_000))),
        "UnixMilli" => none(Value::Int(nanos.div_euclid(1_000_000))),
        "UnixMicro" => none(Value::Int(nanos.div_euclid(1_000))),
        "UnixNano" => none(Value::Int(nanos)),
        "UTC" | "Local" => none(Value::Time(time)),
        "String" => none(Value::Str(layout::default_text(time))),
        "IsZero" => none(Value::Bool(false)),
        "Year" => none(part("2006")),
        "Month" => none(Value::Str(layout::format("January", time))),
        "Weekday" => none(Value::Str(layout::format("Monday", time))),
        "Day" => none(part("2")),
        "Hour" => none(part("15")),
        "Minute" => none(part("4")),
        "Second" => none(part("5")),
        "Nanosecond" => none(Value::Int(nanos.rem_euclid(1_000_000_000))),
        _ => None,
    }
}

fn duration_method(nanos: i64, name: &str, args: &[Value]) -> Option<Result<Value, String>> {
    let value = match name {
        "String" => Value::Str(duration::format_go(nanos)),
        "Seconds" => Value::Float(nanos as f64 / 1e9),
        "Minutes" => Value::Float(nanos as f64 / 6e10),
        "Hours" => Value::Float(nanos as f64 / 3.6e12),
        "Milliseconds" => Value::Int(nanos / 1_000_000),
        "Microseconds" => Value::Int(nanos / 1_000),
        "Nanoseconds" => Value::Int(nanos),
        "Abs" => Value::Duration(nanos.saturating_abs()),
        _ => return None,
    };
    Some(expect(name, args, 0).map(|()| value))
}

fn expect(name: &str, args: &[Value], count: usize) -> Result<(), String> {
    if args.len() == count {
        return Ok(());
    }
    Err(format!("wrong number of args for {name}: want {count} got {}", args.len()))
}

fn wrong_type(expected: &str, args: &[Value]) -> String {
    let got = args.first().map_or("<nil>", Value::type_name);
    format!("wrong type for value; expected {expected}; got {got}")
}
