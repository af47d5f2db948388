//! Lines of `scrape_failure_log_file`: JSON as Prometheus writes it (Go `log/slog`), one for each scrape that failed.
//!
//! The file is opened for each line, so one that was moved away is begun anew. Beyond [`FILE_BYTES_MAX`] nothing is added;
//! lines that cannot be written are counted.

use kenning_model::Nanos;

/// Largest failure log.
pub(super) const FILE_BYTES_MAX: u64 = 1 << 30;
/// Most bytes of an error in a line.
const ERROR_BYTES_MAX: usize = 16 << 10;

/// A line with its end.
pub(super) fn line(now: Nanos, error: &str, job: &str, url: &str) -> String {
    let text = |text: &str| serde_json::Value::from(text).to_string();
    let error = error.get(..error.floor_char_boundary(ERROR_BYTES_MAX)).unwrap_or(error);
    format!(
        "{{\"time\":{},\"level\":\"ERROR\",\"source\":\"scrape\",\"msg\":{},\"job_name\":{},\"target\":{}}}\n",
        text(&rfc3339(now)),
        text(error),
        text(job),
        text(url)
    )
}

/// In UTC, to the millisecond.
fn rfc3339(time: Nanos) -> String {
    let (days, rest) =
        (time.0.div_euclid(86_400_000_000_000), time.0.rem_euclid(86_400_000_000_000) / 1_000_000);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (rest / 3_600_000, rest / 60_000 % 60, rest / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", rest % 1000)
}

/// The date that is so many days after 1970-01-01. Years are counted from March, so that the leap day ends them.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (seconds, expect) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399, "2000-02-28T23:59:59.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.000Z"),
        ] {
            assert_eq!(rfc3339(Nanos(seconds * 1_000_000_000)), expect);
        }
    }

    #[test]
    fn lines_are_those_of_prometheus() {
        assert_eq!(
            line(Nanos(1_700_000_000_123_000_000), "a \"b\"\n", "j", "http://h:1/metrics"),
            "{\"time\":\"2023-11-14T22:13:20.123Z\",\"level\":\"ERROR\",\"source\":\"scrape\",\"msg\":\"a \\\"b\\\"\\n\",\
             \"job_name\":\"j\",\"target\":\"http://h:1/metrics\"}\n"
        );
        let long = line(Nanos(0), &"é".repeat(ERROR_BYTES_MAX), "j", "u");
        assert!(long.len() < ERROR_BYTES_MAX + 200 && long.ends_with("\"u\"}\n"));
    }
}
