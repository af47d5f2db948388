//! Names of tenants, traces and spans.

use std::fmt;
use std::sync::Arc;

/// Who owns data. Part of every key and path, so it is parsed once into a form that is safe in both:
/// 1 to 128 characters of `A-Z a-z 0-9 _ . -`, and neither `.` nor `..`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantId(Arc<str>);

/// A tenant name that breaks the rule of [`TenantId`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidTenant;

impl fmt::Display for InvalidTenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tenant must be 1 to 128 characters of A-Z a-z 0-9 _ . - and neither \".\" nor \"..\"")
    }
}

impl std::error::Error for InvalidTenant {}

impl TenantId {
    /// Longest name, in bytes.
    pub const MAX_LEN: usize = 128;

    /// Parses a tenant's name.
    pub fn parse(name: &str) -> Result<Self, InvalidTenant> {
        let length_fits = (1..=Self::MAX_LEN).contains(&name.len());
        let safe = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
        if length_fits && safe && name != "." && name != ".." {
            Ok(Self(name.into()))
        } else {
            Err(InvalidTenant)
        }
    }

    /// The tenant of a fresh install.
    #[must_use]
    pub fn default_tenant() -> Self {
        Self("default".into())
    }

    /// The tenant that holds Kenning's own telemetry.
    #[must_use]
    pub fn self_tenant() -> Self {
        Self("self".into())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// No identifier: all bytes zero, as W3C Trace Context defines it.
            pub const NONE: Self = Self([0; $len]);

            /// True for [`Self::NONE`].
            #[must_use]
            pub fn is_none(self) -> bool {
                self == Self::NONE
            }

            /// Takes exactly the identifier's bytes.
            #[must_use]
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }

            /// Reads hex digits of either case; fewer than the full width are padded with zeros on the left, as Jaeger
            /// and Tempo clients send them. `None` for an empty, too long or non-hex text.
            #[must_use]
            pub fn from_hex(text: &str) -> Option<Self> {
                if text.is_empty() || text.len() > 2 * $len {
                    return None;
                }
                let mut id = [0u8; $len];
                for (place, digit) in text.bytes().rev().enumerate() {
                    let nibble = (digit as char).to_digit(16)? as u8;
                    *id.get_mut($len - 1 - place / 2)? |= nibble << (4 * (place % 2));
                }
                Some(Self(id))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

hex_id!(
    /// Identifies a trace (W3C Trace Context `trace-id`).
    TraceId,
    16
);
hex_id!(
    /// Identifies a span inside its trace (W3C Trace Context `parent-id`).
    SpanId,
    8
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_are_safe_in_paths() {
        for good in ["default", "a", "Team_1.eu-west"] {
            assert_eq!(TenantId::parse(good).map(|t| t.to_string()), Ok(good.to_owned()));
        }
        for bad in ["", ".", "..", "a/b", "a b", "é", &"x".repeat(129)] {
            assert_eq!(TenantId::parse(bad), Err(InvalidTenant), "{bad}");
        }
    }

    #[test]
    fn hex_is_padded_on_the_left() {
        assert_eq!(SpanId::from_hex("a1B").map(|id| id.to_string()).as_deref(), Some("0000000000000a1b"));
        assert_eq!(SpanId::from_hex("00f067aa0ba902b7").map(|id| id.0[7]), Some(0xb7));
        for bad in ["", "xyz", "é", "00f067aa0ba902b70"] {
            assert_eq!(SpanId::from_hex(bad), None, "{bad}");
        }
    }
}
