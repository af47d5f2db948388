//! Which names say that their value is a secret.
//!
//! A name is read without case, separators and the words that may follow (`_new`, `_value`, `2`): `X-Api-Key`, `apiKey`
//! and `API_KEY_V2` are one name. Its end decides: `db_password` is a secret, `password_policy` is not.

use kenning_model::keyed::keyed_hash;

use super::kind::Kind;
use super::text::between;

/// Longest name looked at; of longer ones the end.
pub(super) const NAME_LEN_MAX: usize = 96;

/// What is known of values under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) kind: Kind,
    /// How sure the name alone makes us.
    pub(super) care: Care,
    /// Fewer bytes than this are no such value.
    pub(super) len_min: usize,
}

/// What a value must be like besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Care {
    /// Whatever is no word of state is a secret.
    None,
    /// As before, but for paths: shells have their directory under this name.
    NoPath,
    /// Short numbers and plain words in prose are none.
    Some,
    /// The value must look random.
    Random,
    /// Digits only, with separators.
    Digits,
    /// The value of an `Authorization` header.
    Header,
    /// The value of a `Cookie` header.
    Cookie,
}

const fn rule(kind: Kind, care: Care, len_min: usize) -> Rule {
    Rule { kind, care, len_min }
}

/// Ends of names without separators.
const ENDS: &[(&str, Rule)] = &[
    ("password", rule(Kind::Password, Care::None, 1)),
    ("passwords", rule(Kind::Password, Care::None, 1)),
    ("passwd", rule(Kind::Password, Care::None, 1)),
    ("passwort", rule(Kind::Password, Care::None, 1)),
    ("passphrase", rule(Kind::Password, Care::None, 1)),
    ("passcode", rule(Kind::Password, Care::None, 1)),
    ("userpass", rule(Kind::Password, Care::None, 1)),
    ("dbpass", rule(Kind::Password, Care::None, 1)),
    ("userpwd", rule(Kind::Password, Care::None, 1)),
    ("dbpwd", rule(Kind::Password, Care::None, 1)),
    ("secret", rule(Kind::Secret, Care::Some, 4)),
    ("secrets", rule(Kind::Secret, Care::Random, 6)),
    ("secretkey", rule(Kind::Secret, Care::Some, 4)),
    ("signingkey", rule(Kind::Secret, Care::Some, 6)),
    ("encryptionkey", rule(Kind::Secret, Care::Some, 6)),
    ("masterkey", rule(Kind::Secret, Care::Some, 6)),
    ("sharedkey", rule(Kind::Secret, Care::Some, 6)),
    ("accountkey", rule(Kind::Secret, Care::Some, 6)),
    ("storagekey", rule(Kind::Secret, Care::Some, 6)),
    ("sharedaccesskey", rule(Kind::Secret, Care::Some, 6)),
    ("secretaccesskey", rule(Kind::AwsKey, Care::Some, 6)),
    ("credential", rule(Kind::Secret, Care::Some, 6)),
    ("credentials", rule(Kind::Secret, Care::Some, 6)),
    ("token", rule(Kind::Token, Care::Some, 4)),
    ("tokens", rule(Kind::Token, Care::Random, 8)),
    ("jwt", rule(Kind::Token, Care::Some, 8)),
    ("signature", rule(Kind::Token, Care::Random, 20)),
    ("apikey", rule(Kind::ApiKey, Care::Some, 4)),
    ("apikeys", rule(Kind::ApiKey, Care::Random, 8)),
    ("apisecret", rule(Kind::Secret, Care::Some, 4)),
    ("accesskey", rule(Kind::ApiKey, Care::Some, 6)),
    ("authkey", rule(Kind::ApiKey, Care::Some, 6)),
    ("servicekey", rule(Kind::ApiKey, Care::Some, 6)),
    ("servicerolekey", rule(Kind::ApiKey, Care::Some, 6)),
    ("licensekey", rule(Kind::ApiKey, Care::Some, 6)),
    ("licencekey", rule(Kind::ApiKey, Care::Some, 6)),
    ("subscriptionkey", rule(Kind::ApiKey, Care::Some, 6)),
    ("applicationkey", rule(Kind::ApiKey, Care::Some, 6)),
    ("consumerkey", rule(Kind::ApiKey, Care::Some, 6)),
    ("deploykey", rule(Kind::ApiKey, Care::Random, 8)),
    ("integrationkey", rule(Kind::ApiKey, Care::Some, 6)),
    ("routingsecret", rule(Kind::Secret, Care::Some, 4)),
    ("writekey", rule(Kind::ApiKey, Care::Some, 6)),
    ("serverkey", rule(Kind::ApiKey, Care::Random, 8)),
    ("hmackey", rule(Kind::Secret, Care::Some, 6)),
    ("webhookkey", rule(Kind::ApiKey, Care::Some, 6)),
    ("privatekey", rule(Kind::PrivateKey, Care::Some, 6)),
    ("sshkey", rule(Kind::PrivateKey, Care::Random, 20)),
    ("authorization", rule(Kind::Authorization, Care::Header, 4)),
    ("cookie", rule(Kind::Cookie, Care::Cookie, 4)),
    ("cookies", rule(Kind::Cookie, Care::Cookie, 4)),
    ("session", rule(Kind::Session, Care::Random, 8)),
    ("sessionid", rule(Kind::Session, Care::Random, 8)),
    ("sessionkey", rule(Kind::Session, Care::Some, 6)),
    ("sessid", rule(Kind::Session, Care::Random, 8)),
    ("socialsecuritynumber", rule(Kind::Ssn, Care::Digits, 9)),
];

/// Names whose last word must be this, since more words end so.
const WORDS: &[(&str, Rule)] = &[
    ("pass", rule(Kind::Password, Care::Some, 3)),
    ("pwd", rule(Kind::Password, Care::NoPath, 3)),
    ("pin", rule(Kind::Password, Care::Digits, 4)),
    ("pincode", rule(Kind::Password, Care::Digits, 4)),
    ("creds", rule(Kind::Secret, Care::Some, 4)),
    ("cred", rule(Kind::Secret, Care::Some, 4)),
    ("auth", rule(Kind::Authorization, Care::Header, 8)),
    ("bearer", rule(Kind::Authorization, Care::Some, 6)),
    ("otp", rule(Kind::Token, Care::Some, 4)),
    ("totp", rule(Kind::Token, Care::Some, 4)),
    ("csrf", rule(Kind::Token, Care::Random, 8)),
    ("xsrf", rule(Kind::Token, Care::Random, 8)),
    ("sig", rule(Kind::Token, Care::Random, 20)),
    ("sid", rule(Kind::Session, Care::Random, 16)),
    ("cvv", rule(Kind::CreditCard, Care::Digits, 3)),
    ("cvc", rule(Kind::CreditCard, Care::Digits, 3)),
    ("ssn", rule(Kind::Ssn, Care::Digits, 9)),
    ("iban", rule(Kind::Iban, Care::Random, 15)),
];

/// Words after a name that do not change what its value is.
const MAY_FOLLOW: &[&str] = &[
    "value",
    "val",
    "hash",
    "hashed",
    "digest",
    "new",
    "old",
    "current",
    "previous",
    "confirm",
    "confirmation",
    "confirmed",
    "repeat",
    "again",
    "plain",
    "plaintext",
    "text",
    "raw",
    "string",
    "str",
    "base64",
    "b64",
    "encoded",
    "encrypted",
    "enc",
    "header",
    "data",
    "primary",
    "secondary",
    "prod",
    "production",
    "dev",
    "staging",
    "test",
    "live",
    "v1",
    "v2",
    "code",
    "ciphertext",
];

/// Ends of names that would be secrets and are not: places in lists, means to stop.
const HARMLESS_ENDS: &[&str] = &[
    "pagetoken",
    "nexttoken",
    "previoustoken",
    "prevtoken",
    "continuationtoken",
    "synctoken",
    "continuetoken",
    "cancellationtoken",
    "unexpectedtoken",
    "unexpectedtoken",
    "numtokens",
    "maxtokens",
    "totaltokens",
    "prompttokens",
    "completiontokens",
    "inputtokens",
    "outputtokens",
    "tokenizer",
    "bypass",
    "nosecret",
    "invalidtoken",
];

/// What was said of names: lines repeat theirs, and reading one costs ten times a look here.
#[derive(Clone, Debug, Default)]
pub(super) struct KnownNames(Vec<(Box<[u8]>, Option<Rule>)>);

/// Names remembered at once, one per hash; a power of two.
const KNOWN_NAMES: usize = 64;

impl KnownNames {
    /// As [`rule_of`].
    pub(super) fn rule_of(&mut self, name: &[u8], own: &[(Box<str>, Rule)]) -> Option<Rule> {
        self.or_read(name, own, || rule_of(name, own))
    }

    /// What `read` said of a name, which depends on nothing else.
    pub(super) fn or_read(
        &mut self,
        name: &[u8],
        own: &[(Box<str>, Rule)],
        read: impl FnOnce() -> Option<Rule>,
    ) -> Option<Rule> {
        // Own names belong to a redactor, what is remembered here may not.
        if !own.is_empty() {
            return read();
        }
        if self.0.is_empty() {
            self.0.resize(KNOWN_NAMES, Default::default());
        }
        let place = keyed_hash(name) as usize % KNOWN_NAMES;
        let Some(slot) = self.0.get_mut(place) else { return read() };
        if *slot.0 != *name {
            // No rule belongs to the name without bytes, so that empty slots tell the truth.
            *slot = (name.into(), read());
        }
        slot.1
    }
}

/// How values under a name are to be treated; `None` for ordinary names. Of `own` names, without case and separators, the
/// values always go.
pub(super) fn rule_of(name: &[u8], own: &[(Box<str>, Rule)]) -> Option<Rule> {
    let name = between(name, name.len().saturating_sub(NAME_LEN_MAX), name.len());
    let words = words(name);
    let flat: String = words.concat();
    if let Some((_, rule)) = own.iter().find(|(end, _)| flat.ends_with(&**end)) {
        return Some(*rule);
    }
    if flat.len() < 3 || HARMLESS_ENDS.iter().any(|end| flat.ends_with(end)) {
        return None;
    }
    // The name itself first, then without the words that may follow, three at most.
    let mut rest = words.as_slice();
    for _ in 0..4 {
        if let Some(rule) = rule_of_words(rest) {
            return Some(rule);
        }
        let (last, shorter) = rest.split_last()?;
        (MAY_FOLLOW.contains(&last.as_str()) || last.bytes().all(|byte| byte.is_ascii_digit()))
            .then_some(())?;
        rest = shorter;
    }
    None
}

fn rule_of_words(words: &[String]) -> Option<Rule> {
    let last = words.last()?;
    let bare = last.trim_end_matches(|c: char| c.is_ascii_digit());
    if let Some((_, rule)) = WORDS.iter().find(|(word, _)| *word == bare) {
        return Some(*rule);
    }
    let flat = words.concat();
    let flat = flat.trim_end_matches(|c: char| c.is_ascii_digit());
    // Of two ends that fit, the longer says more.
    let found = ENDS.iter().filter(|(end, _)| flat.ends_with(end)).max_by_key(|(end, _)| end.len());
    found.map(|(_, rule)| *rule)
}

/// The words of a name in lower case: it is cut where anything but letters and digits stands, and where lower case turns
/// into upper case.
fn words(name: &[u8]) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut last = 0u8;
    for byte in name {
        let is_cut = byte.is_ascii_uppercase() && (last.is_ascii_lowercase() || last.is_ascii_digit());
        if !byte.is_ascii_alphanumeric() || is_cut {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| byte.is_ascii_alphanumeric()) {
            word.push(char::from(byte.to_ascii_lowercase()));
        }
        last = *byte;
    }
    words.retain(|word| !word.is_empty());
    words
}

/// A name as it is compared: lower case, letters and digits only.
pub(super) fn flat(name: &str) -> String {
    words(name.as_bytes()).concat()
}

/// Literals that stand in names of secrets, and where their rarest four bytes are.
pub(super) const STEMS: &[(&str, usize)] = &[
    ("passwor", 2),
    ("passwd", 2),
    ("passphrase", 2),
    ("passcode", 2),
    ("pass", 0),
    ("pwd", 0),
    ("secret", 1),
    ("token", 0),
    ("credential", 1),
    ("creds", 0),
    ("cred", 0),
    ("key", 0),
    ("auth", 0),
    ("cookie", 2),
    ("sess", 0),
    ("sid", 0),
    ("jwt", 0),
    ("bearer", 0),
    ("otp", 0),
    ("pin", 0),
    ("pincode", 2),
    ("cvv", 0),
    ("cvc", 0),
    ("ssn", 0),
    ("socialsecurity", 3),
    ("social_security", 3),
    ("social-security", 3),
    ("signature", 2),
    ("sig", 0),
    ("csrf", 0),
    ("xsrf", 0),
    ("iban", 0),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn check(names: &[&str], expect: Option<Kind>) {
        for name in names {
            assert_eq!(rule_of(name.as_bytes(), &[]).map(|rule| rule.kind), expect, "{name}");
        }
    }

    #[test]
    fn names_of_secrets() {
        check(
            &[
                "password",
                "PASSWORD",
                "db_password",
                "dbPassword",
                "user.password",
                "password2",
                "new-password",
                "passwordNew",
                "password_hash",
                "PGPASSWORD",
                "spring.datasource.password",
                "passwd",
                "pwd",
                "DB_PASS",
                "pass",
                "passphrase",
            ],
            Some(Kind::Password),
        );
        check(
            &["token", "accessToken", "x-auth-token", "refresh_token", "CSRF-Token", "id_token", "otp_code"],
            Some(Kind::Token),
        );
        check(
            &[
                "api_key",
                "apikey",
                "X-Api-Key",
                "apiKey",
                "API-KEY_V2",
                "accessKey",
                "Ocp-Apim-Subscription-Key",
            ],
            Some(Kind::ApiKey),
        );
        check(
            &["client_secret", "secret", "SECRET_KEY_BASE64", "AccountKey", "credentials"],
            Some(Kind::Secret),
        );
        check(&["aws_secret_access_key", "AWS_SECRET_ACCESS_KEY", "secretAccessKey"], Some(Kind::AwsKey));
        check(&["Authorization", "proxy-authorization", "auth"], Some(Kind::Authorization));
        check(&["cookie", "Set-Cookie", "http.request.header.cookie"], Some(Kind::Cookie));
        check(&["session_id", "PHPSESSID", "JSESSIONID", "connect.sid", "sessionId"], Some(Kind::Session));
    }

    #[test]
    fn ordinary_names() {
        check(
            &[
                "passed",
                "compass",
                "bypass",
                "password_policy",
                "passwordLength",
                "token_type",
                "max_tokens",
                "tokenizer",
                "nextPageToken",
                "key",
                "cache_key",
                "primary_key",
                "idempotency_key",
                "author",
                "secret_name",
                "session_count",
                "cookie_domain",
                "side",
                "pinned",
                "spin",
                "keys",
                "public_key",
                "sort_key",
                "auth_method",
                "authority",
                "",
                "_",
                "inside",
                "token_count",
            ],
            None,
        );
    }

    #[test]
    fn known_names_keep_their_rules() {
        let mut known = KnownNames::default();
        let names = (0..500).map(|n| format!("{}{n}", ["password", "key", "session_id", "x"][n % 4]));
        for name in names.clone().chain(names).chain([String::new()]) {
            for _ in 0..2 {
                assert_eq!(known.rule_of(name.as_bytes(), &[]), rule_of(name.as_bytes(), &[]), "{name}");
            }
        }
    }

    #[test]
    fn own_names() {
        let own = [("customernumber".into(), rule(Kind::Secret, Care::None, 1))];
        for name in ["customer_number", "CustomerNumber", "x-customer-number"] {
            assert!(rule_of(name.as_bytes(), &own).is_some(), "{name}");
        }
        assert!(rule_of(b"customer", &own).is_none());
    }
}
