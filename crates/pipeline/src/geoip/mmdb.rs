//! Writes small files of MaxMind's format, for tests (those of `kenning-stages` include this file too).

/// A value.
pub(crate) enum V {
    S(&'static str),
    U(u32),
    D(f64),
    M(Vec<(&'static str, V)>),
    A(Vec<V>),
    /// A pointer to a place in the data.
    P(usize),
}

fn control(kind: u8, size: usize) -> Vec<u8> {
    let (small, more) = match size {
        0..29 => (size as u8, Vec::new()),
        29..285 => (29, vec![(size - 29) as u8]),
        _ => (30, ((size - 285) as u16).to_be_bytes().to_vec()),
    };
    let mut out = if kind > 7 { vec![small, kind - 7] } else { vec![kind << 5 | small] };
    out.extend(more);
    out
}

/// The bytes of a value.
pub(crate) fn encode(value: &V) -> Vec<u8> {
    match value {
        V::S(text) => [control(2, text.len()), text.as_bytes().to_vec()].concat(),
        V::U(number) => [control(6, 4), number.to_be_bytes().to_vec()].concat(),
        V::D(number) => [control(3, 8), number.to_be_bytes().to_vec()].concat(),
        V::M(pairs) => {
            let pairs = pairs.iter().flat_map(|(key, value)| [encode(&V::S(key)), encode(value)]);
            [vec![control(7, 0)[0] | (pairs.clone().count() as u8 / 2)], pairs.flatten().collect()].concat()
        }
        V::A(items) => [control(11, items.len()), items.iter().flat_map(encode).collect()].concat(),
        V::P(place) => vec![1 << 5 | (place >> 8) as u8, *place as u8],
    }
}

/// A file that knows networks: address, bits of its prefix, and its place in `data`.
pub(crate) fn file(
    kind: &'static str,
    bits: u32,
    ip_version: u32,
    networks: &[(u128, u32, usize)],
    data: &[u8],
) -> Vec<u8> {
    const NOTHING: usize = usize::MAX;
    let mut nodes = vec![[NOTHING; 2]];
    let mut leaves = std::collections::HashSet::new();
    for (address, prefix, place) in networks {
        let mut node = 0;
        for bit in 0..*prefix {
            let side = (address << bit >> 127) as usize;
            if bit + 1 == *prefix {
                nodes[node][side] = *place;
                leaves.insert((node, side));
            } else {
                if nodes[node][side] == NOTHING {
                    nodes.push([NOTHING; 2]);
                    nodes[node][side] = nodes.len() - 1;
                }
                node = nodes[node][side];
            }
        }
    }
    let count = nodes.len();
    let mut out = Vec::new();
    for (at, node) in nodes.iter().enumerate() {
        let record = |side: usize| match node[side] {
            NOTHING => count,
            place if leaves.contains(&(at, side)) => count + 16 + place,
            next => next,
        };
        let (left, right) = (record(0) as u32, record(1) as u32);
        match bits {
            24 => [left, right].iter().for_each(|one| out.extend(&one.to_be_bytes()[1..])),
            28 => {
                out.extend(&left.to_be_bytes()[1..]);
                out.push((left >> 24 << 4 | right >> 24) as u8);
                out.extend(&right.to_be_bytes()[1..]);
            }
            _ => [left, right].iter().for_each(|one| out.extend(one.to_be_bytes())),
        }
    }
    out.extend([0; 16]);
    out.extend(data);
    out.extend(b"\xab\xcd\xefMaxMind.com");
    out.extend(encode(&V::M(vec![
        ("binary_format_major_version", V::U(2)),
        ("database_type", V::S(kind)),
        ("ip_version", V::U(ip_version)),
        ("node_count", V::U(count as u32)),
        ("record_size", V::U(bits)),
    ])));
    out
}
