//! The functions of the language: names, argument types, result types.

use super::ValueType::{self, Matrix, Scalar, String as Text, Vector};

/// What a function takes and gives.
#[derive(Debug, PartialEq, Eq)]
pub struct Signature {
    /// Its name.
    pub name: &'static str,
    /// Types of the arguments; the last one repeats where more are allowed.
    pub args: &'static [ValueType],
    /// Zero: exactly `args`. Positive: the last argument may be left out, and up to `variadic - 1` more may follow.
    /// Negative: the last argument may be left out or repeated without end.
    pub variadic: i32,
    /// What it gives.
    pub returns: ValueType,
    /// True while Prometheus keeps it behind a flag.
    pub experimental: bool,
}

impl Signature {
    /// The function of that name.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        SIGNATURES
            .binary_search_by(|signature| signature.name.cmp(name))
            .ok()
            .and_then(|at| SIGNATURES.get(at))
    }
}

const fn function(name: &'static str, args: &'static [ValueType], returns: ValueType) -> Signature {
    Signature { name, args, variadic: 0, returns, experimental: false }
}

const fn variadic(name: &'static str, args: &'static [ValueType], variadic: i32) -> Signature {
    Signature { name, args, variadic, returns: Vector, experimental: false }
}

const fn experimental(signature: Signature) -> Signature {
    Signature { experimental: true, ..signature }
}

/// Every function, by name.
pub static SIGNATURES: &[Signature] = &[
    function("abs", &[Vector], Vector),
    function("absent", &[Vector], Vector),
    function("absent_over_time", &[Matrix], Vector),
    function("acos", &[Vector], Vector),
    function("acosh", &[Vector], Vector),
    function("asin", &[Vector], Vector),
    function("asinh", &[Vector], Vector),
    function("atan", &[Vector], Vector),
    function("atanh", &[Vector], Vector),
    function("avg_over_time", &[Matrix], Vector),
    function("ceil", &[Vector], Vector),
    function("changes", &[Matrix], Vector),
    function("clamp", &[Vector, Scalar, Scalar], Vector),
    function("clamp_max", &[Vector, Scalar], Vector),
    function("clamp_min", &[Vector, Scalar], Vector),
    function("cos", &[Vector], Vector),
    function("cosh", &[Vector], Vector),
    function("count_over_time", &[Matrix], Vector),
    variadic("day_of_month", &[Vector], 1),
    variadic("day_of_week", &[Vector], 1),
    variadic("day_of_year", &[Vector], 1),
    variadic("days_in_month", &[Vector], 1),
    function("deg", &[Vector], Vector),
    function("delta", &[Matrix], Vector),
    function("deriv", &[Matrix], Vector),
    experimental(function("double_exponential_smoothing", &[Matrix, Scalar, Scalar], Vector)),
    experimental(function("end", &[], Scalar)),
    function("exp", &[Vector], Vector),
    function("first_over_time", &[Matrix], Vector),
    function("floor", &[Vector], Vector),
    function("histogram_avg", &[Vector], Vector),
    function("histogram_count", &[Vector], Vector),
    function("histogram_fraction", &[Scalar, Scalar, Vector], Vector),
    function("histogram_quantile", &[Scalar, Vector], Vector),
    experimental(variadic("histogram_quantiles", &[Vector, Text, Scalar, Scalar], 9)),
    function("histogram_stddev", &[Vector], Vector),
    function("histogram_stdvar", &[Vector], Vector),
    function("histogram_sum", &[Vector], Vector),
    variadic("hour", &[Vector], 1),
    function("idelta", &[Matrix], Vector),
    function("increase", &[Matrix], Vector),
    experimental(variadic("info", &[Vector, Vector], 1)),
    function("irate", &[Matrix], Vector),
    variadic("label_join", &[Vector, Text, Text, Text], -1),
    function("label_replace", &[Vector, Text, Text, Text, Text], Vector),
    function("last_over_time", &[Matrix], Vector),
    function("ln", &[Vector], Vector),
    function("log10", &[Vector], Vector),
    function("log2", &[Vector], Vector),
    experimental(function("mad_over_time", &[Matrix], Vector)),
    experimental(function("max_of", &[Scalar, Scalar], Scalar)),
    function("max_over_time", &[Matrix], Vector),
    experimental(function("min_of", &[Scalar, Scalar], Scalar)),
    function("min_over_time", &[Matrix], Vector),
    variadic("minute", &[Vector], 1),
    variadic("month", &[Vector], 1),
    function("pi", &[], Scalar),
    function("predict_linear", &[Matrix, Scalar], Vector),
    function("present_over_time", &[Matrix], Vector),
    function("quantile_over_time", &[Scalar, Matrix], Vector),
    function("rad", &[Vector], Vector),
    experimental(function("range", &[], Scalar)),
    function("rate", &[Matrix], Vector),
    function("resets", &[Matrix], Vector),
    variadic("round", &[Vector, Scalar], 1),
    function("scalar", &[Vector], Scalar),
    function("sgn", &[Vector], Vector),
    function("sin", &[Vector], Vector),
    function("sinh", &[Vector], Vector),
    function("sort", &[Vector], Vector),
    experimental(variadic("sort_by_label", &[Vector, Text], -1)),
    experimental(variadic("sort_by_label_desc", &[Vector, Text], -1)),
    function("sort_desc", &[Vector], Vector),
    function("sqrt", &[Vector], Vector),
    experimental(function("start", &[], Scalar)),
    experimental(function("start_timestamp", &[Vector], Vector)),
    function("stddev_over_time", &[Matrix], Vector),
    function("stdvar_over_time", &[Matrix], Vector),
    experimental(function("step", &[], Scalar)),
    function("sum_over_time", &[Matrix], Vector),
    function("tan", &[Vector], Vector),
    function("tanh", &[Vector], Vector),
    function("time", &[], Scalar),
    function("timestamp", &[Vector], Vector),
    experimental(function("ts_of_first_over_time", &[Matrix], Vector)),
    experimental(function("ts_of_last_over_time", &[Matrix], Vector)),
    experimental(function("ts_of_max_over_time", &[Matrix], Vector)),
    experimental(function("ts_of_min_over_time", &[Matrix], Vector)),
    function("vector", &[Scalar], Vector),
    variadic("year", &[Vector], 1),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found() {
        for signature in SIGNATURES {
            assert_eq!(Signature::find(signature.name), Some(signature));
        }
        assert_eq!(Signature::find("nope"), None);
    }
}
