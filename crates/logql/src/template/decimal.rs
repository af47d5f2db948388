//! Decimal arithmetic for `addf` and its like: 0.1 + 0.2 is 0.3. Numbers that do not fit are computed as doubles.

/// `mantissa * 10^-scale`
#[derive(Clone, Copy)]
struct Decimal {
    mantissa: i128,
    scale: u32,
}

/// Digits after the point that a quotient keeps.
const QUOTIENT_DIGITS: u32 = 16;
/// Largest scale that is computed with.
const SCALE_MAX: u32 = 18;

impl Decimal {
    /// The shortest decimal that reads as this double.
    fn new(value: f64) -> Option<Self> {
        let text = format!("{value}");
        let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
        let scale = fraction.len() as u32;
        let mantissa: i128 = format!("{whole}{fraction}").parse().ok()?;
        (scale <= SCALE_MAX && mantissa.unsigned_abs() < 1 << 80).then_some(Self { mantissa, scale })
    }

    fn aligned(self, other: Self) -> Option<(i128, i128, u32)> {
        let scale = self.scale.max(other.scale);
        let lift = |n: Self| n.mantissa.checked_mul(10i128.checked_pow(scale - n.scale)?);
        Some((lift(self)?, lift(other)?, scale))
    }

    fn value(mantissa: i128, scale: u32) -> Option<f64> {
        format!("{mantissa}e-{scale}").parse().ok()
    }
}

fn exact(a: f64, b: f64, op: impl Fn(Decimal, Decimal) -> Option<f64>) -> Option<f64> {
    op(Decimal::new(a)?, Decimal::new(b)?)
}

pub(super) fn add(a: f64, b: f64) -> f64 {
    let sum = |a: Decimal, b: Decimal| {
        let (a, b, scale) = a.aligned(b)?;
        Decimal::value(a.checked_add(b)?, scale)
    };
    exact(a, b, sum).unwrap_or(a + b)
}

pub(super) fn sub(a: f64, b: f64) -> f64 {
    add(a, -b)
}

pub(super) fn mul(a: f64, b: f64) -> f64 {
    let product =
        |a: Decimal, b: Decimal| Decimal::value(a.mantissa.checked_mul(b.mantissa)?, a.scale + b.scale);
    exact(a, b, product).unwrap_or(a * b)
}

/// The quotient, rounded half away from zero at the 16th digit.
pub(super) fn div(a: f64, b: f64) -> f64 {
    let quotient = |a: Decimal, b: Decimal| {
        let (a, b, _) = a.aligned(b)?;
        let doubled = a.checked_mul(2 * 10i128.checked_pow(QUOTIENT_DIGITS)?)?.checked_div(b)?;
        Decimal::value((doubled + doubled.signum()) / 2, QUOTIENT_DIGITS)
    };
    exact(a, b, quotient).unwrap_or(a / b)
}
