//! The configuration as it may be shown: secrets left out.

use crate::yaml::{self, Content, Node};
use kenning_gotext::quote::quote;

/// Fields whose value is a secret, wherever they stand.
const SECRETS: [&str; 20] = [
    "password",
    "credentials",
    "bearer_token",
    "client_secret",
    "client_certificate_key",
    "secrets",
    "secret_key",
    "access_key_secret",
    "auth_token",
    "token",
    "key",
    "application_secret",
    "application_credential_secret",
    "consumer_key",
    "key_passphrase",
    "certificate_password",
    "service_account_key",
    "private_key",
    "proxy_connect_header",
    "authorization_token",
];
const HIDDEN: &str = "<secret>";

/// The file as YAML with every secret, and every password in a URL, replaced by `<secret>`. What is no YAML is empty.
#[must_use]
pub fn show(text: &[u8]) -> String {
    let mut out = String::new();
    if let Ok(Some(root)) = yaml::parse(text) {
        write(&root, 0, false, &mut out);
    }
    out
}

/// Depth is bounded by the reader.
fn write(node: &Node, depth: usize, secret: bool, out: &mut String) {
    match &node.content {
        Content::Mapping(pairs) if !pairs.is_empty() => {
            for (place, (key, value)) in pairs.iter().enumerate() {
                if place > 0 || depth == 0 {
                    indent(depth, out);
                }
                let name = key.text();
                out.push_str(&plain_or_quoted(name));
                out.push(':');
                write_value(value, depth, secret || SECRETS.contains(&name), out);
            }
        }
        Content::Sequence(items) if !items.is_empty() => {
            for item in items {
                indent(depth, out);
                out.push_str("- ");
                match &item.content {
                    Content::Scalar(_) => write_scalar(item, secret, out),
                    _ if is_empty(item) => write_scalar(item, secret, out),
                    Content::Sequence(_) => {
                        out.push('\n');
                        write(item, depth + 1, secret, out);
                    }
                    Content::Mapping(_) => write(item, depth + 1, secret, out),
                }
            }
        }
        _ => write_scalar(node, secret, out),
    }
}

fn write_value(value: &Node, depth: usize, secret: bool, out: &mut String) {
    match &value.content {
        Content::Mapping(_) if !is_empty(value) => {
            out.push('\n');
            indent(depth + 1, out);
            write(value, depth + 1, secret, out);
        }
        Content::Sequence(_) if !is_empty(value) => {
            out.push('\n');
            write(value, depth, secret, out);
        }
        _ => {
            out.push(' ');
            write_scalar(value, secret, out);
        }
    }
}

fn is_empty(node: &Node) -> bool {
    match &node.content {
        Content::Mapping(pairs) => pairs.is_empty(),
        Content::Sequence(items) => items.is_empty(),
        Content::Scalar(_) => false,
    }
}

fn write_scalar(node: &Node, secret: bool, out: &mut String) {
    match &node.content {
        Content::Mapping(_) => out.push_str("{}"),
        Content::Sequence(_) => out.push_str("[]"),
        Content::Scalar(text) if secret && !node.is_null() && !text.is_empty() => out.push_str(HIDDEN),
        Content::Scalar(text) => {
            let shown = without_password(text);
            let bare = node.plain && !shown.contains('\n');
            out.push_str(&if bare { shown } else { quote(&shown) });
        }
    }
    out.push('\n');
}

/// `scheme://user:password@host` without the password.
fn without_password(text: &str) -> String {
    let hidden = || {
        let (scheme, rest) = text.split_once("://")?;
        let end = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end)?;
        let (user, host) = authority.rsplit_once('@')?;
        let (name, _) = user.split_once(':')?;
        Some(format!("{scheme}://{name}:{HIDDEN}@{host}{path}"))
    };
    hidden().unwrap_or_else(|| text.to_owned())
}

fn plain_or_quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    if !text.is_empty() && text.chars().all(plain) { text.to_owned() } else { quote(text) }
}

fn indent(depth: usize, out: &mut String) {
    out.extend(std::iter::repeat_n("  ", depth));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_and_the_rest_stays() {
        let text = "scrape_configs:\n- job_name: a\n  basic_auth: {username: u, password: p}\n  \
            static_configs:\n  - targets: ['h:1', \"x\"]\n    labels: {}\n  http_headers: {X: {secrets: [s1, s2]}}\n\
            remote_write:\n- url: http://me:pw@host/x\n  bearer_token: t\n";
        let shown = show(text.as_bytes());
        for secret in ["password: p\n", "s1", "s2", "pw", "bearer_token: t\n"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        assert!(shown.contains("username: u") && shown.contains("http://me:<secret>@host/x"), "{shown}");
        let again = yaml::parse(shown.as_bytes()).unwrap().unwrap();
        assert_eq!(show(shown.as_bytes()), shown, "{again:?}");
    }
}
