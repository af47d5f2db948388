//! Label values and label sets.

/// A value a label can have. Implement it for your own enums, so that a label's values are a closed set:
///
/// ```
/// use kenning::metrics::{Accepts, LabelValue};
///
/// enum Outcome { Success, Error }
///
/// impl LabelValue for Outcome {
///     fn write(&self, out: &mut String) {
///         out.push_str(match self { Outcome::Success => "success", Outcome::Error => "error" });
///     }
/// }
/// ```
pub trait LabelValue {
    /// Appends the value's text.
    fn write(&self, out: &mut String);
}

impl LabelValue for &str {
    fn write(&self, out: &mut String) {
        out.push_str(self);
    }
}

impl LabelValue for String {
    fn write(&self, out: &mut String) {
        out.push_str(self);
    }
}

macro_rules! integer_labels {
    ($($type:ty),+) => {$(
        impl LabelValue for $type {
            fn write(&self, out: &mut String) {
                let _ = std::fmt::Write::write_fmt(out, format_args!("{self}"));
            }
        }
    )+};
}

integer_labels!(u8, u16, u32, u64, usize, i16, i32, i64, bool);

/// The type of a metric's labels: nothing, one [`LabelValue`], or a tuple of up to six.
pub trait Labels {}

impl Labels for () {}
impl<T: LabelValue> Labels for T {}

/// Types that may be given where a label set of type `L` is declared: `L` itself, and `&str` for `String`.
pub trait Accepts<L>: WriteLabels {}

impl Accepts<()> for () {}

/// Types that may be given for one label of type `T`.
pub trait AcceptsValue<T>: LabelValue {}

impl<T: LabelValue> AcceptsValue<T> for T {}
impl AcceptsValue<String> for &str {}
impl AcceptsValue<String> for &String {}

impl LabelValue for &String {
    fn write(&self, out: &mut String) {
        out.push_str(self);
    }
}

impl<T: LabelValue, V: AcceptsValue<T>> Accepts<T> for V {}

/// Writes every value, each ended by [`END`].
pub trait WriteLabels {
    #[doc(hidden)]
    fn write_all(&self, out: &mut String);
}

/// Ends a value in a key. A value holding this character itself could be confused with two values, so it is replaced.
pub(crate) const END: char = '\u{1f}';
/// Longest label value; the rest is cut.
const LABEL_BYTES_MAX: usize = 1024;

fn write_one(value: &impl LabelValue, out: &mut String) {
    let start = out.len();
    value.write(out);
    if out.len() - start > LABEL_BYTES_MAX {
        out.truncate(out.floor_char_boundary(start + LABEL_BYTES_MAX));
    }
    if out.get(start..).is_some_and(|written| written.contains(END)) {
        let clean = out.split_off(start).replace(END, "\u{fffd}");
        out.push_str(&clean);
    }
    out.push(END);
}

impl WriteLabels for () {
    fn write_all(&self, _: &mut String) {}
}

impl<T: LabelValue> WriteLabels for T {
    fn write_all(&self, out: &mut String) {
        write_one(self, out);
    }
}

macro_rules! tuple_labels {
    ($($type:ident $value:ident $field:tt),+) => {
        impl<$($type: LabelValue),+> Labels for ($($type),+) {}
        impl<$($type: LabelValue),+> WriteLabels for ($($type),+) {
            fn write_all(&self, out: &mut String) {
                $(write_one(&self.$field, out);)+
            }
        }
        impl<$($type: LabelValue, $value: AcceptsValue<$type>),+> Accepts<($($type),+)> for ($($value),+) {}
    };
}

tuple_labels!(A VA 0, B VB 1);
tuple_labels!(A VA 0, B VB 1, C VC 2);
tuple_labels!(A VA 0, B VB 1, C VC 2, D VD 3);
tuple_labels!(A VA 0, B VB 1, C VC 2, D VD 3, E VE 4);
tuple_labels!(A VA 0, B VB 1, C VC 2, D VD 3, E VE 4, F VF 5);
