//! Whether two servers gave the same answer to a query.
//!
//! Order is no part of an answer. Prometheus of before 3.x adds up without compensation, so that its sums differ in the
//! last digits: numbers are compared by their relative distance, and the largest one is told.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::Failure;

/// Relative distance of numbers up to which answers count as the same.
const DISTANCE_MAX: f64 = 1e-9;

/// How two answers compare, in words.
pub fn describe(ours: &[u8], theirs: &[u8]) -> Result<String, Failure> {
    let (ours, theirs) = (points(ours)?, points(theirs)?);
    if ours.len() != theirs.len() || !ours.keys().eq(theirs.keys()) {
        return Ok(format!("answers DIFFER: {} points here, {} there", ours.len(), theirs.len()));
    }
    let distances = ours.values().zip(theirs.values()).map(|(a, b)| distance(a, b));
    let greatest = distances.fold(0.0, f64::max);
    Ok(match greatest {
        0.0 => format!("answers equal ({} points)", ours.len()),
        near if near <= DISTANCE_MAX => format!("answers equal to {near:.0e} ({} points)", ours.len()),
        far => format!("answers DIFFER by {far:.1e}"),
    })
}

/// The points of an answer, or its label sets: where each stands and what it is.
fn points(answer: &[u8]) -> Result<BTreeMap<String, String>, Failure> {
    let answer: Value = serde_json::from_slice(answer)?;
    let data = answer.get("data").ok_or("an answer without data")?;
    let mut points = BTreeMap::new();
    for one in
        data.get("result").or(Some(data)).and_then(Value::as_array).ok_or("an answer without a list")?
    {
        // Maps are written by name.
        let series = one.get("metric").unwrap_or(one).to_string();
        let values = one.get("values").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        for point in values.iter().chain(one.get("value")) {
            let (time, value) = (point.get(0).and_then(Value::as_f64), point.get(1).and_then(Value::as_str));
            let time = time.ok_or("a point without its time")?;
            points
                .insert(format!("{series} {time:.3}"), value.ok_or("a point without its value")?.to_owned());
        }
        if one.get("metric").is_none() {
            points.insert(series, String::new());
        }
    }
    Ok(points)
}

/// Zero for the same text, else the relative distance of the numbers.
fn distance(ours: &str, theirs: &str) -> f64 {
    if ours == theirs {
        return 0.0;
    }
    match (ours.parse::<f64>(), theirs.parse::<f64>()) {
        (Ok(ours), Ok(theirs)) if ours.is_finite() && theirs.is_finite() => {
            (ours - theirs).abs() / ours.abs().max(theirs.abs()).max(f64::MIN_POSITIVE)
        }
        _ => f64::INFINITY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_compare_by_what_they_say() {
        let check = |ours: &str, theirs: &str, expect: &str| {
            let told = describe(ours.as_bytes(), theirs.as_bytes()).unwrap_or_else(|error| error.to_string());
            assert_eq!(told, expect);
        };
        let vector = |value: &str| {
            format!(r#"{{"data":{{"result":[{{"metric":{{"b":"2","a":"1"}},"value":[5,"{value}"]}}]}}}}"#)
        };
        check(&vector("1"), &vector("1"), "answers equal (1 points)");
        check(
            &vector("1"),
            &vector("1").replace(r#""b":"2","a":"1""#, r#""a":"1","b":"2""#),
            "answers equal (1 points)",
        );
        check(&vector("1.0000000000000002"), &vector("1"), "answers equal to 2e-16 (1 points)");
        check(&vector("1.1"), &vector("1"), "answers DIFFER by 9.1e-2");
        check(&vector("NaN"), &vector("1"), "answers DIFFER by inf");
        check(&vector("1"), &vector("1").replace("[5,", "[6,"), "answers DIFFER: 1 points here, 1 there");
        check(
            r#"{"data":[{"a":"1"},{"b":"2"}]}"#,
            r#"{"data":[{"b":"2"},{"a":"1"}]}"#,
            "answers equal (2 points)",
        );
        check(r#"{"data":[{"a":"1"}]}"#, r#"{"data":[]}"#, "answers DIFFER: 1 points here, 0 there");
    }
}
