//! Finds IP addresses in text and compares them with an address, a range or a CIDR block.

use std::net::IpAddr;

/// What addresses are compared with; both families, never mixed.
#[derive(Clone, Debug)]
pub(crate) enum IpMatcher {
    One(IpAddr),
    /// First and last address.
    Range(IpAddr, IpAddr),
    /// An address and how many of its leading bits count.
    Block(IpAddr, u32),
}

impl IpMatcher {
    /// Reads `192.168.0.1`, `192.168.0.1-192.168.0.9` or `192.168.0.0/16`, and the same for IPv6.
    pub(crate) fn new(text: &str) -> Result<Self, String> {
        let invalid = || format!("ip: invalid pattern: {}", kenning_gotext::quote::quote(text));
        if let Ok(address) = text.parse() {
            return Ok(Self::One(address));
        }
        if let Some((address, bits)) = text.split_once('/') {
            let address: IpAddr = address.parse().map_err(|_| invalid())?;
            let plain = !bits.is_empty() && bits.bytes().all(|b| b.is_ascii_digit());
            let bits: u32 = bits.parse().map_err(|_| invalid())?;
            let max = if address.is_ipv4() { 32 } else { 128 };
            return if plain && bits <= max { Ok(Self::Block(address, bits)) } else { Err(invalid()) };
        }
        let (first, last) = text.split_once('-').ok_or_else(invalid)?;
        let (first, last): (IpAddr, IpAddr) =
            (first.parse().map_err(|_| invalid())?, last.parse().map_err(|_| invalid())?);
        let ordered = first.is_ipv4() == last.is_ipv4() && first <= last;
        if ordered { Ok(Self::Range(first, last)) } else { Err(invalid()) }
    }

    fn contains(&self, address: IpAddr) -> bool {
        match self {
            Self::One(one) => *one == address,
            Self::Range(first, last) => {
                first.is_ipv4() == address.is_ipv4() && *first <= address && address <= *last
            }
            Self::Block(block, bits) => match (block, address) {
                (IpAddr::V4(a), IpAddr::V4(b)) => {
                    same_prefix(u128::from(a.to_bits()), u128::from(b.to_bits()), 32 - bits)
                }
                (IpAddr::V6(a), IpAddr::V6(b)) => same_prefix(a.to_bits(), b.to_bits(), 128 - bits),
                _ => false,
            },
        }
    }

    /// True when some address in the text matches. The text is walked once; what looks like the start of an address is
    /// read as far as its character set goes.
    pub(crate) fn is_in(&self, text: &str) -> bool {
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let charset: fn(&u8) -> bool = if starts_v4(bytes, at) {
                |b| b.is_ascii_digit() || *b == b'.'
            } else if starts_v6(bytes, at) {
                |b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.')
            } else {
                at += 1;
                continue;
            };
            let len = bytes.get(at..).unwrap_or(&[]).iter().take_while(|b| charset(b)).count();
            let candidate = text.get(at..at + len).and_then(|address| address.parse().ok());
            if candidate.is_some_and(|address| self.contains(address)) {
                return true;
            }
            at += len + 1;
        }
        false
    }
}

fn same_prefix(a: u128, b: u128, ignored_bits: u32) -> bool {
    a.checked_shr(ignored_bits).unwrap_or(0) == b.checked_shr(ignored_bits).unwrap_or(0)
}

fn starts_v4(bytes: &[u8], at: usize) -> bool {
    let byte = |offset: usize| bytes.get(at + offset).copied().unwrap_or(0);
    at + 3 < bytes.len() && byte(0).is_ascii_digit() && (1..=3).any(|offset| byte(offset) == b'.')
}

/// One to four hexadecimal digits and a colon, or two colons and a digit.
fn starts_v6(bytes: &[u8], at: usize) -> bool {
    let byte = |offset: usize| bytes.get(at + offset).copied().unwrap_or(0);
    if byte(0) == b':' {
        return byte(1) == b':' && byte(2).is_ascii_hexdigit();
    }
    let digits = (0..4).take_while(|offset| byte(*offset).is_ascii_hexdigit()).count();
    digits > 0 && byte(digits) == b':'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_text() {
        let check = |range: &str, text: &str, expect: bool| {
            assert_eq!(IpMatcher::new(range).map(|m| m.is_in(text)), Ok(expect), "{range} {text}");
        };
        check("192.168.0.1", "vpn 192.168.0.1 connected", true);
        check("192.168.0.1", "vpn 192.168.0.11 connected", false);
        check("::1", "connected to ::1", true);
        check("192.168.0.1-192.189.10.12", "x 192.170.1.1 y", true);
        check("10.0.0.0/8", "client 10.0.0.7:80", true);
        check("0.0.0.0/0", "1.2.3.4", true);
        check("2001:db8::/32", "addr=2001:db8::1", true);
        check("10.0.0.0/8", "", false);
    }

    #[test]
    fn what_is_no_range() {
        for bad in ["", "bogus", "1.2.3.4/33", "1.2.3.4/+1", "9.0.0.0-1.0.0.0", "::1-1.2.3.4"] {
            assert!(IpMatcher::new(bad).is_err(), "{bad}");
        }
    }
}
