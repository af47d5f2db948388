//! How values of settings are written.

use std::sync::Arc;
use std::time::Duration;

use kenning_receivers::push::{DeltaTemporality, TranslationStrategy};
use kenning_stdx::bytesize::{ByteSize, TimeSpan};

use crate::memory::MEMORY_MIN;

/// A way to write values of type `T`.
pub(super) trait Kind<T> {
    fn parse(text: &str) -> Result<T, String>;
    fn show(value: &T) -> String;
}

/// Any text.
pub(super) struct Text;
/// A text that is not shown.
pub(super) struct Secret;
/// A whole number.
pub(super) struct Count;
/// A regular expression that whole texts match, or nothing.
pub(super) struct WholePattern;
/// A size such as `64MiB`.
pub(super) struct Bytes;
/// A time such as `10m`.
pub(super) struct Span;
/// `true` or `false`.
pub(super) struct Flag;
/// Texts, as a list in YAML or separated by commas.
pub(super) struct List;
/// The memory of the process: a size, or `auto`.
pub(super) struct Memory;
/// One of a few words.
pub(super) struct Word;
/// Any of the above, or `unlimited`.
pub(super) struct OrUnlimited<K>(std::marker::PhantomData<K>);

impl Kind<String> for Text {
    fn parse(text: &str) -> Result<String, String> {
        Ok(text.to_owned())
    }

    fn show(value: &String) -> String {
        value.clone()
    }
}

impl Kind<String> for WholePattern {
    fn parse(text: &str) -> Result<String, String> {
        kenning_model::Pattern::whole(text).map(|_| text.to_owned())
    }

    fn show(value: &String) -> String {
        value.clone()
    }
}

impl Kind<String> for Secret {
    fn parse(text: &str) -> Result<String, String> {
        Ok(text.to_owned())
    }

    fn show(value: &String) -> String {
        if value.is_empty() { String::new() } else { "<secret>".to_owned() }
    }
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl Kind<$number> for Count {
            fn parse(text: &str) -> Result<$number, String> {
                text.parse().map_err(|_| format!("cannot read \"{text}\" as a whole number"))
            }

            fn show(value: &$number) -> String {
                value.to_string()
            }
        }

        impl Kind<$number> for Bytes {
            fn parse(text: &str) -> Result<$number, String> {
                let ByteSize(bytes) = text.parse().map_err(|error| format!("{error}"))?;
                <$number>::try_from(bytes).map_err(|_| format!("\"{text}\" is more than this machine can address"))
            }

            fn show(value: &$number) -> String {
                ByteSize(*value as u64).to_string()
            }
        }
    )*};
}

numbers!(u64, usize);

impl Kind<Duration> for Span {
    fn parse(text: &str) -> Result<Duration, String> {
        text.parse().map(|TimeSpan(span)| span).map_err(|error| format!("{error}"))
    }

    fn show(value: &Duration) -> String {
        TimeSpan(*value).to_string()
    }
}

impl Kind<Option<u64>> for Memory {
    fn parse(text: &str) -> Result<Option<u64>, String> {
        if text == "auto" {
            return Ok(None);
        }
        let bytes = <Bytes as Kind<u64>>::parse(text)?;
        if bytes < MEMORY_MIN {
            return Err(format!(
                "\"{text}\" is less than {}; set at least that, or auto",
                ByteSize(MEMORY_MIN)
            ));
        }
        Ok(Some(bytes))
    }

    fn show(value: &Option<u64>) -> String {
        value.map_or("auto".to_owned(), |bytes| ByteSize(bytes).to_string())
    }
}

impl<T, K: Kind<T>> Kind<Option<T>> for OrUnlimited<K> {
    fn parse(text: &str) -> Result<Option<T>, String> {
        if text == "unlimited" {
            Ok(None)
        } else {
            K::parse(text).map(Some).map_err(|e| format!("{e}, or \"unlimited\""))
        }
    }

    fn show(value: &Option<T>) -> String {
        value.as_ref().map_or_else(|| "unlimited".to_owned(), K::show)
    }
}

impl Kind<bool> for Flag {
    fn parse(text: &str) -> Result<bool, String> {
        text.parse().map_err(|_| format!("cannot read \"{text}\" as true or false"))
    }

    fn show(value: &bool) -> String {
        value.to_string()
    }
}

impl Kind<Arc<[String]>> for List {
    fn parse(text: &str) -> Result<Arc<[String]>, String> {
        // Lists in YAML come as JSON.
        if text.starts_with('[') {
            let list: Vec<String> =
                serde_json::from_str(text).map_err(|_| format!("cannot read {text} as a list of texts"))?;
            return Ok(list.into());
        }
        Ok(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect())
    }

    fn show(value: &Arc<[String]>) -> String {
        value.join(", ")
    }
}

macro_rules! words {
    ($($word:ty),*) => {$(
        impl Kind<$word> for Word {
            fn parse(text: &str) -> Result<$word, String> {
                let found = <$word>::ALL.into_iter().find(|word| word.as_str().eq_ignore_ascii_case(text));
                found.ok_or_else(|| {
                    format!("\"{text}\" is none of {}", <$word>::ALL.map(<$word>::as_str).join(", "))
                })
            }

            fn show(value: &$word) -> String {
                value.as_str().to_owned()
            }
        }
    )*};
}

words!(TranslationStrategy, DeltaTemporality);
