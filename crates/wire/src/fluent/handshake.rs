//! The handshake by which both sides of Fluent forward prove that they know the shared key: HELO, PING, PONG.

use sha2::{Digest, Sha512};

use super::FluentError;
use super::render::hex;
use crate::msgpack::{Reader, Token, put_small, put_str};

/// What the server knows and says in one handshake.
#[derive(Clone)]
pub struct Handshake {
    /// The key that both sides know.
    pub shared_key: String,
    /// The name by which the server calls itself.
    pub hostname: String,
    /// Names and passwords; empty when no user is asked for.
    pub users: Vec<(String, String)>,
    /// Fresh chance for the proofs of this connection.
    pub nonce: [u8; 16],
    /// Fresh chance for the passwords of this connection.
    pub auth_salt: [u8; 16],
}

/// What a PING leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ping {
    /// The PONG to send.
    pub pong: Vec<u8>,
    /// Whether the client has proven what it had to.
    pub is_trusted: bool,
}

impl Handshake {
    /// The first message of the connection.
    #[must_use]
    pub fn helo(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_small(&mut out, Token::Array(2));
        put_str(&mut out, "HELO");
        put_small(&mut out, Token::Map(3));
        put_str(&mut out, "nonce");
        put_bin(&mut out, &self.nonce);
        put_str(&mut out, "auth");
        put_bin(&mut out, self.salt());
        put_str(&mut out, "keepalive");
        put_small(&mut out, Token::Bool(true));
        out
    }

    /// Empty without users, which tells the client that no user is asked for.
    fn salt(&self) -> &[u8] {
        if self.users.is_empty() { &[] } else { &self.auth_salt }
    }

    /// Judges a PING: a whole MessagePack value.
    pub fn answer(&self, ping: &[u8]) -> Result<Ping, FluentError> {
        let bad = FluentError::shape("a PING is a list of the word and five texts");
        let mut reader = Reader::new(ping);
        if reader.token()? != Token::Array(6) {
            return Err(bad);
        }
        let mut text = || match reader.token()? {
            Token::Str(text) | Token::Bin(text) => Ok(text),
            _ => Err(bad.clone()),
        };
        if text()? != b"PING" {
            return Err(bad.clone());
        }
        let (hostname, salt, digest) = (text()?, text()?, text()?);
        let (user, password_digest) = (text()?, text()?);
        let problem = self.problem(hostname, salt, digest, user, password_digest);
        Ok(Ping { pong: self.pong(salt, problem), is_trusted: problem.is_none() })
    }

    fn problem(
        &self,
        hostname: &[u8],
        salt: &[u8],
        digest: &[u8],
        user: &[u8],
        password_digest: &[u8],
    ) -> Option<&'static str> {
        let proof = sha512(&[salt, hostname, &self.nonce, self.shared_key.as_bytes()]);
        if !same(proof.as_bytes(), digest) {
            return Some("shared_key mismatch");
        }
        if hostname == self.hostname.as_bytes() {
            return Some("same hostname between input and output: invalid configuration");
        }
        if self.users.is_empty() {
            return None;
        }
        // Every user is tried, so that time does not tell which names exist.
        let mut known = false;
        for (name, password) in &self.users {
            let proof = sha512(&[&self.auth_salt, name.as_bytes(), password.as_bytes()]);
            known |= same(name.as_bytes(), user) & same(proof.as_bytes(), password_digest);
        }
        (!known).then_some("username/password mismatch")
    }

    fn pong(&self, salt: &[u8], problem: Option<&str>) -> Vec<u8> {
        let proof = sha512(&[salt, self.hostname.as_bytes(), &self.nonce, self.shared_key.as_bytes()]);
        let mut out = Vec::new();
        put_small(&mut out, Token::Array(5));
        put_str(&mut out, "PONG");
        put_small(&mut out, Token::Bool(problem.is_none()));
        put_str(&mut out, problem.unwrap_or(""));
        put_str(&mut out, if problem.is_none() { &self.hostname } else { "" });
        put_str(&mut out, if problem.is_none() { &proof } else { "" });
        out
    }
}

fn put_bin(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend([0xc4, bytes.len() as u8]);
    out.extend_from_slice(bytes);
}

fn sha512(parts: &[&[u8]]) -> String {
    let mut hasher = Sha512::new();
    parts.iter().for_each(|part| hasher.update(part));
    hex(&hasher.finalize())
}

/// Compares in a time that does not depend on where the difference is.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |different, (a, b)| different | (a ^ b)) == 0
}
