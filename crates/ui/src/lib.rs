//! The built web interface, embedded.
//!
//! The sources are TypeScript in `ui/`; their build output in `ui/dist` is committed, so that `cargo build` needs
//! neither Node nor a network, and what was tested is what is shipped. This crate turns that folder into a table.
//!
//! It promises: every file of the build is served with a strong entity tag and its content type; names below
//! `assets/` carry a hash of their content and may be cached for ever; [`index_html`] never lets the base address
//! break out of its attribute. A unit test compares the bundle with the hashes of its sources, so a stale bundle
//! fails `cargo test` on machines without Node.
//!
//! It lacks: HTTP. Routes, headers and content negotiation belong to `kenning-api`; [`cache_control`] and
//! [`CONTENT_SECURITY_POLICY`] are what it should send.

use std::io::Write;
use std::sync::OnceLock;

mod assets;

/// What the interface needs and no more: no inline script, nothing from elsewhere. Inline styles are allowed because
/// positions of tooltips and rows are set on elements.
pub const CONTENT_SECURITY_POLICY: &str =
    "default-src 'self'; style-src 'self' 'unsafe-inline'; object-src 'none'; frame-ancestors 'self'";

/// `Cache-Control` for an asset: names with a content hash never change, everything else is asked for again.
#[must_use]
pub const fn cache_control(asset: &Asset) -> &'static str {
    if asset.immutable { "public, max-age=31536000, immutable" } else { "no-cache" }
}

/// One file of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asset {
    /// The file's bytes, uncompressed.
    pub body: &'static [u8],
    /// Media type with charset.
    pub content_type: &'static str,
    /// Strong entity tag, quotes included; a hash of the content.
    pub etag: &'static str,
    /// Whether the name contains a hash of the content, so that it may be cached for ever.
    pub immutable: bool,
}

/// A row of the generated table.
pub(crate) struct Embedded {
    path: &'static str,
    content_type: &'static str,
    etag: &'static str,
    immutable: bool,
    body: &'static [u8],
}

/// The path of the page itself; it is a template, see [`index_html`].
const INDEX: &str = "index.html";

/// What `index.html` has in place of its base address.
const BASE_MARK: &str = "%BASE%";

/// The page's template. Its absence must not compile: a binary without an interface would be found out too late.
static INDEX_TEMPLATE: &str = include_str!("../../../ui/dist/index.html");

/// An embedded file by its path below the interface's base, such as `assets/app-ABC.js`.
///
/// `index.html` is not an asset: it is filled in per deployment by [`index_html`].
#[must_use]
pub fn asset(path: &str) -> Option<Asset> {
    let row = assets::ASSETS.get(position(path)?)?;
    Some(Asset { body: row.body, content_type: row.content_type, etag: row.etag, immutable: row.immutable })
}

/// The same file compressed with gzip, made on first use and kept.
///
/// `None` when there is no such file, or when compression would not make it smaller.
#[must_use]
pub fn asset_gzip(path: &str) -> Option<&'static [u8]> {
    static COMPRESSED: OnceLock<Vec<OnceLock<Vec<u8>>>> = OnceLock::new();
    let at = position(path)?;
    let row = assets::ASSETS.get(at)?;
    let slots = COMPRESSED.get_or_init(|| assets::ASSETS.iter().map(|_| OnceLock::new()).collect());
    let packed = slots.get(at)?.get_or_init(|| gzip(row.body));
    (!packed.is_empty() && packed.len() < row.body.len()).then_some(packed.as_slice())
}

/// All paths [`asset`] knows, sorted.
pub fn paths() -> impl Iterator<Item = &'static str> {
    assets::ASSETS.iter().map(|a| a.path).filter(|p| *p != INDEX)
}

/// The page, for every address of the interface that is not an asset.
///
/// `base` is the path under which the interface is served as the browser sees it, with a slash at both ends
/// (`/ui/`, or `/prefix/ui/` behind a proxy). All other addresses in the page are relative to it.
#[must_use]
pub fn index_html(base: &str) -> String {
    INDEX_TEMPLATE.replacen(BASE_MARK, &escape_attribute(base), 1)
}

fn position(path: &str) -> Option<usize> {
    if path == INDEX {
        return None;
    }
    assets::ASSETS.binary_search_by(|a| a.path.cmp(path)).ok()
}

/// An empty result means "could not compress", which a `Vec` as sink never causes.
fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    if encoder.write_all(body).is_err() {
        return Vec::new();
    }
    encoder.finish().unwrap_or_default()
}

fn escape_attribute(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};
    use std::collections::BTreeSet;
    use std::io::Read;
    use std::path::{Path, PathBuf};

    const STALE: &str = "ui/dist is stale or was edited by hand: run npm run build in ui/";

    fn ui() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../ui")
    }

    fn sha256(bytes: &[u8]) -> String {
        Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
    }

    /// Files below `dir` as paths relative to `ui/`, with forward slashes.
    fn files(dir: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut todo = vec![dir.to_owned()];
        while let Some(at) = todo.pop() {
            for entry in std::fs::read_dir(ui().join(&at)).expect("readable folder") {
                let entry = entry.expect("readable entry");
                let path = format!("{at}/{}", entry.file_name().to_string_lossy());
                if entry.file_type().expect("file type").is_dir() {
                    todo.push(path);
                } else {
                    found.insert(path);
                }
            }
        }
        found
    }

    /// `(role, hash, path)` of every line of the manifest.
    fn manifest() -> Vec<(String, String, String)> {
        let text = std::fs::read_to_string(ui().join("dist/MANIFEST")).expect("ui/dist/MANIFEST");
        text.lines()
            .map(|line| {
                let mut parts = line.splitn(3, ' ').map(str::to_owned);
                let mut next = || parts.next().expect("three words per line");
                (next(), next(), next())
            })
            .collect()
    }

    fn listed(role: &str) -> BTreeSet<String> {
        manifest().into_iter().filter(|(r, _, _)| r == role).map(|(_, _, path)| path).collect()
    }

    #[test]
    fn bundle_is_what_its_sources_give() {
        for (_, hash, path) in manifest() {
            let bytes = std::fs::read(ui().join(&path)).unwrap_or_default();
            assert_eq!(sha256(&bytes), hash, "{path}: {STALE}");
        }
    }

    #[test]
    fn manifest_lists_every_source_and_every_output() {
        let mut sources = files("src");
        sources.extend(["build.mjs", "package-lock.json"].map(String::from));
        assert_eq!(sources, listed("input"), "{STALE}");
        let mut outputs = files("dist");
        outputs.remove("dist/MANIFEST");
        outputs.insert("../crates/ui/src/assets.rs".into());
        assert_eq!(outputs, listed("output"), "{STALE}");
    }

    #[test]
    fn table_is_sorted_and_tagged_by_content() {
        assert!(assets::ASSETS.is_sorted_by_key(|a| a.path));
        for row in assets::ASSETS {
            assert_eq!(row.etag, format!("\"{}\"", &sha256(row.body)[..32]), "{}: {STALE}", row.path);
        }
    }

    #[test]
    fn every_asset_is_found_by_its_path() {
        for path in paths() {
            let found = asset(path).expect("listed");
            assert!(!found.body.is_empty() && found.immutable == path.starts_with("assets/"), "{path}");
        }
        for absent in ["", "index.html", "assets/", "../Cargo.toml", "assets/app.js", "MANIFEST"] {
            assert_eq!(asset(absent), None, "{absent}");
            assert_eq!(asset_gzip(absent), None, "{absent}");
        }
    }

    #[test]
    fn index_refers_only_to_assets_that_exist() {
        let html = index_html("/ui/");
        let mut referred = 0;
        for piece in html.split("=\"assets/").skip(1) {
            let name = piece.split('"').next().unwrap_or_default();
            assert!(asset(&format!("assets/{name}")).is_some(), "{name}");
            referred += 1;
        }
        assert_eq!(referred, 7, "icon, style, styles of three pages, theme, app");
        assert!(!html.contains("http"), "the page must name no other host");
    }

    #[test]
    fn base_is_filled_in_and_cannot_break_out() {
        fn check(base: &str, expect: &str) {
            let html = index_html(base);
            assert!(html.contains(&format!("<base href=\"{expect}\" />")), "{base}");
            assert!(!html.contains(BASE_MARK));
        }
        check("/ui/", "/ui/");
        check("/a/b/ui/", "/a/b/ui/");
        check("/\"><script>", "/&quot;&gt;&lt;script&gt;");
        check("/a&b'/", "/a&amp;b&#39;/");
    }

    #[test]
    fn page_has_no_inline_script_or_handler() {
        let html = index_html("/ui/");
        for piece in html.split("<script").skip(1) {
            assert!(piece.trim_start_matches([' ', '\n']).contains("src=\""), "{piece}");
            assert!(piece.contains("></script>"), "inline script: {piece}");
        }
        assert!(!html.contains("onload=") && !html.contains("javascript:"));
    }

    #[test]
    fn gzip_holds_the_same_bytes() {
        for path in paths() {
            let Some(packed) = asset_gzip(path) else { continue };
            let mut plain = Vec::new();
            flate2::read::GzDecoder::new(packed).read_to_end(&mut plain).expect("gzip");
            assert_eq!(Some(plain.as_slice()), asset(path).map(|a| a.body), "{path}");
        }
    }

    #[test]
    fn caching_follows_the_name() {
        let hashed = paths().find(|p| p.starts_with("assets/")).and_then(asset).expect("an asset");
        assert!(cache_control(&hashed).contains("immutable"));
        assert_eq!(cache_control(&Asset { immutable: false, ..hashed }), "no-cache");
    }
}
