//! Tokens that are known by how they begin, as their vendors document them.

use super::kind::Kind;
use super::text::{at, between, is_word_start, skip_some};

/// Longest token looked at.
const TOKEN_LEN_MAX: usize = 4096;

/// The bytes a token is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Letters and digits.
    Alnum,
    /// Upper-case letters and digits.
    Upper,
    /// Lower-case hex digits.
    Hex,
    /// Letters, digits, `_` and `-`.
    Word,
    /// Letters, digits, `_`, `-` and `.`.
    Dotted,
    /// Base64 with its padding.
    Base64,
    /// Letters, digits, `_`, `-` and `/`.
    Path,
}

impl Class {
    pub(super) fn has(self, byte: u8) -> bool {
        let alnum = byte.is_ascii_alphanumeric();
        match self {
            Self::Alnum => alnum,
            Self::Upper => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
            Self::Hex => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
            Self::Word => alnum || matches!(byte, b'_' | b'-'),
            Self::Dotted => alnum || matches!(byte, b'_' | b'-' | b'.'),
            Self::Base64 => alnum || matches!(byte, b'+' | b'/' | b'='),
            Self::Path => alnum || matches!(byte, b'_' | b'-' | b'/'),
        }
    }
}

/// One form of token.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    /// How it begins, in its case.
    pub(super) prefix: &'static str,
    pub(super) kind: Kind,
    class: Class,
    /// Least and most bytes after the prefix.
    len: (usize, usize),
    /// The prefix alone says little: a digit and a letter must follow.
    is_mixed: bool,
    /// The prefix is no part of the secret.
    keeps_prefix: bool,
}

const fn form(prefix: &'static str, kind: Kind, class: Class, min: usize, max: usize) -> Form {
    Form { prefix, kind, class, len: (min, max), is_mixed: false, keeps_prefix: false }
}

const fn any(prefix: &'static str, kind: Kind, class: Class, min: usize) -> Form {
    form(prefix, kind, class, min, TOKEN_LEN_MAX)
}

const fn mixed(prefix: &'static str, kind: Kind, class: Class, min: usize) -> Form {
    Form { is_mixed: true, ..any(prefix, kind, class, min) }
}

const fn hook(prefix: &'static str, kind: Kind, min: usize) -> Form {
    Form { keeps_prefix: true, ..any(prefix, kind, Class::Path, min) }
}

use Class::{Alnum, Base64, Dotted, Hex, Upper, Word};
use Kind::{
    AwsKey, GithubToken, GitlabToken, GoogleKey, NpmToken, OpenaiKey, PrivateKey, PypiToken, SendgridKey,
    SlackToken, StripeKey, VendorToken,
};

/// All of them.
pub(super) const FORMS: &[Form] = &[
    form("AKIA", AwsKey, Upper, 16, 16),
    form("ASIA", AwsKey, Upper, 16, 16),
    form("ABIA", AwsKey, Upper, 16, 16),
    form("ACCA", AwsKey, Upper, 16, 16),
    any("ABSK", AwsKey, Base64, 100),
    form("AIza", GoogleKey, Word, 35, 35),
    any("GOCSPX-", GoogleKey, Word, 24),
    any("ya29.", GoogleKey, Dotted, 20),
    mixed("1//0", GoogleKey, Word, 30),
    any("ghp_", GithubToken, Alnum, 30),
    any("gho_", GithubToken, Alnum, 30),
    any("ghu_", GithubToken, Alnum, 30),
    any("ghs_", GithubToken, Dotted, 30),
    any("ghr_", GithubToken, Alnum, 30),
    any("github_pat_", GithubToken, Word, 22),
    any("glpat-", GitlabToken, Dotted, 20),
    any("gloas-", GitlabToken, Dotted, 20),
    any("gldt-", GitlabToken, Dotted, 20),
    any("glrt-", GitlabToken, Dotted, 20),
    any("glrtr-", GitlabToken, Dotted, 20),
    any("glcbt-", GitlabToken, Dotted, 16),
    any("glptt-", GitlabToken, Dotted, 20),
    any("glft-", GitlabToken, Dotted, 20),
    any("glimt-", GitlabToken, Dotted, 20),
    any("glagent-", GitlabToken, Dotted, 20),
    any("glsoat-", GitlabToken, Dotted, 20),
    any("glffct-", GitlabToken, Dotted, 20),
    any("GR1348941", GitlabToken, Word, 20),
    mixed("xoxb-", SlackToken, Word, 16),
    mixed("xoxp-", SlackToken, Word, 16),
    mixed("xoxa-", SlackToken, Word, 16),
    mixed("xoxr-", SlackToken, Word, 16),
    mixed("xoxs-", SlackToken, Word, 16),
    mixed("xoxo-", SlackToken, Word, 16),
    mixed("xoxc-", SlackToken, Word, 16),
    mixed("xoxd-", SlackToken, Base64, 16),
    mixed("xoxe-", SlackToken, Word, 16),
    mixed("xoxe.", SlackToken, Dotted, 16),
    mixed("xapp-", SlackToken, Word, 16),
    hook("hooks.slack.com/services/", SlackToken, 20),
    hook("hooks.slack.com/workflows/", SlackToken, 20),
    hook("hooks.slack.com/triggers/", SlackToken, 20),
    any("sk_live_", StripeKey, Alnum, 10),
    any("sk_test_", StripeKey, Alnum, 10),
    any("rk_live_", StripeKey, Alnum, 10),
    any("rk_test_", StripeKey, Alnum, 10),
    any("whsec_", StripeKey, Base64, 16),
    mixed("sk-", OpenaiKey, Word, 20),
    form("SG.", SendgridKey, Dotted, 40, 100),
    form("npm_", NpmToken, Alnum, 36, 100),
    any("pypi-", PypiToken, Word, 50),
    any("dop_v1_", VendorToken, Hex, 64),
    any("doo_v1_", VendorToken, Hex, 64),
    any("dor_v1_", VendorToken, Hex, 64),
    any("hf_", VendorToken, Alnum, 30),
    any("api_org_", VendorToken, Alnum, 30),
    form("dapi", VendorToken, Hex, 32, 32),
    any("hvs.", VendorToken, Word, 20),
    any("hvb.", VendorToken, Word, 20),
    any("hvr.", VendorToken, Word, 20),
    any("dp.pt.", VendorToken, Alnum, 30),
    any("dp.st.", VendorToken, Dotted, 30),
    any("lin_api_", VendorToken, Alnum, 30),
    any("PMAK-", VendorToken, Word, 30),
    any("glsa_", VendorToken, Word, 30),
    any("glc_", VendorToken, Base64, 30),
    any("NRAK-", VendorToken, Alnum, 20),
    any("NRII-", VendorToken, Word, 20),
    any("NRJS-", VendorToken, Alnum, 15),
    any("sntrys_", VendorToken, Base64, 30),
    any("sntryu_", VendorToken, Hex, 40),
    any("HRKU-", VendorToken, Word, 30),
    any("ATATT3", VendorToken, Base64Url, 40),
    any("ATCTT3", VendorToken, Base64Url, 40),
    any("ATBB", VendorToken, Alnum, 28),
    any("shpat_", VendorToken, Alnum, 32),
    any("shpca_", VendorToken, Alnum, 32),
    any("shppa_", VendorToken, Alnum, 32),
    any("shpss_", VendorToken, Alnum, 32),
    any("sq0atp-", VendorToken, Word, 22),
    any("sq0csp-", VendorToken, Word, 40),
    any("pscale_tkn_", VendorToken, Dotted, 30),
    any("pscale_pw_", VendorToken, Dotted, 30),
    any("pscale_oauth_", VendorToken, Dotted, 30),
    any("sbp_", VendorToken, Hex, 40),
    any("sb_secret_", VendorToken, Word, 20),
    any("gsk_", VendorToken, Alnum, 40),
    any("xai-", VendorToken, Alnum, 40),
    any("r8_", VendorToken, Alnum, 30),
    any("pplx-", VendorToken, Alnum, 40),
    any("figd_", VendorToken, Word, 30),
    any("ntn_", VendorToken, Alnum, 40),
    any("nfp_", VendorToken, Alnum, 30),
    any("dckr_pat_", VendorToken, Word, 20),
    any("dckr_oat_", VendorToken, Word, 20),
    any("bkua_", VendorToken, Alnum, 30),
    any("CCIPAT_", VendorToken, Word, 30),
    any("pul-", VendorToken, Hex, 40),
    any("AKCp", VendorToken, Alnum, 50),
    any("LTAI", VendorToken, Alnum, 16),
    any("rubygems_", VendorToken, Hex, 40),
    any("tfp_", VendorToken, Dotted, 40),
    any("shippo_live_", VendorToken, Hex, 40),
    any("shippo_test_", VendorToken, Hex, 40),
    form("EZAK", VendorToken, Alnum, 54, 60),
    any("FLWSECK", VendorToken, Word, 20),
    any("sk.eyJ", VendorToken, Dotted, 40),
    mixed("xkeysib-", VendorToken, Word, 40),
    mixed("xsmtpsib-", VendorToken, Word, 40),
    mixed("key-", VendorToken, Hex, 32),
    any("fo1_", VendorToken, Word, 30),
    any("FlyV1 ", VendorToken, Base64Url, 40),
    any("tskey-", VendorToken, Word, 20),
    any("cfut_", VendorToken, Word, 30),
    any("v1.0-", VendorToken, Word, 100),
    any("EAACEdEose0cBA", VendorToken, Alnum, 10),
    any("duffel_live_", VendorToken, Word, 30),
    any("duffel_test_", VendorToken, Word, 30),
    any("tvly-", VendorToken, Word, 24),
    any("phx_", VendorToken, Alnum, 30),
    any("lsv2_pt_", VendorToken, Word, 30),
    any("lsv2_sk_", VendorToken, Word, 30),
    any("sk_lf_", VendorToken, Dotted, 20),
    any("ops_eyJ", VendorToken, Base64, 60),
    any("A3T", AwsKey, Upper, 17),
    any("AGE-SECRET-KEY-1", PrivateKey, Upper, 58),
    hook("discord.com/api/webhooks/", VendorToken, 30),
    hook("discordapp.com/api/webhooks/", VendorToken, 30),
];

use Class::Word as Base64Url;

/// The part of the text that is a token of this form, when its prefix begins at `start`.
pub(super) fn token_at(text: &[u8], start: usize, form: &Form) -> Option<(usize, usize)> {
    let body = start + form.prefix.len();
    if between(text, start, body) != form.prefix.as_bytes() || !form.keeps_prefix && !begins(text, start) {
        return None;
    }
    let (min, max) = form.len;
    let mut end = skip_some(text, body, max.saturating_add(1), |byte| form.class.has(byte));
    while end > body && at(text, end - 1) == b'.' {
        end -= 1;
    }
    let found = between(text, body, end);
    let is_mixed = || found.iter().any(u8::is_ascii_digit) && found.iter().any(u8::is_ascii_alphabetic);
    let len = found.len();
    let is_whole = (min..=max).contains(&len) || max == TOKEN_LEN_MAX && len > max;
    // What goes on in letters after an exact length is something else.
    let goes_on = max != TOKEN_LEN_MAX && at(text, end).is_ascii_alphanumeric();
    (is_whole && !goes_on && (!form.is_mixed || is_mixed())).then_some(())?;
    Some((if form.keeps_prefix { body } else { start }, end))
}

fn begins(text: &[u8], start: usize) -> bool {
    is_word_start(text, start, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// How the first part of a JSON web token begins: base64 of `{"` and the first letters of a name that headers have.
pub(super) const JWT_STARTS: &[&str] = &[
    "eyJhbGci",
    "eyJ0eXAi",
    "eyJraWQi",
    "eyJjdHki",
    "eyJlbmMi",
    "eyJqa3Ui",
    "eyJqd2si",
    "eyJ4NX",
    "eyJ6aXAi",
    "eyJjcml0",
    "eyJub25j",
    "eyJpc3Mi",
    "eyJqdGki",
    "eyJlcGsi",
    "eyJ2ZXIi",
    "eyJhcHUi",
    "eyJpdiI",
    "eyJwMnMi",
    "eyAiYWxn",
    "eyAidHlw",
    "ewogICJhbGci",
    "ewogICAgImFsZyI",
    "ewogICJ0eXAi",
    "ewogICJraWQi",
    "ewoJImFsZyI",
];

/// The JSON web token that begins at `start`. Its payload or more may have been cut off.
pub(super) fn jwt_at(text: &[u8], start: usize) -> Option<(usize, usize)> {
    let is_token = |byte: u8| Class::Word.has(byte);
    if at(text, start) != b'e' || !is_word_start(text, start, is_token) {
        return None;
    }
    let mut end = skip_some(text, start, usize::MAX, is_token);
    (end - start >= 16).then_some(())?;
    for _ in 0..4 {
        // An encrypted token may have an empty second part.
        let dots = usize::from(at(text, end) == b'.') + usize::from(between(text, end, end + 2) == b"..");
        let part = skip_some(text, end + dots, usize::MAX, is_token);
        if dots == 0 || part == end + dots {
            break;
        }
        end = part;
    }
    Some((start, end))
}

/// The bot token of Telegram around `:AA`.
pub(super) fn telegram_at(text: &[u8], colon: usize) -> Option<(usize, usize)> {
    let start = super::text::back(text, colon, 11, |byte| byte.is_ascii_digit());
    let end = skip_some(text, colon + 1, 64, |byte| Class::Word.has(byte));
    let is_token = (8..=10).contains(&(colon - start)) && end - colon - 1 == 35;
    is_token.then_some((start, end))
}

/// The secret key of AWS that follows its id within a hundred bytes.
pub(super) fn aws_secret_after(text: &[u8], end: usize) -> Option<(usize, usize)> {
    let is_key = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    let stop = text.len().min(end + 100);
    let mut place = end;
    while place < stop {
        let word = skip_some(text, place, 100, is_key);
        let found = between(text, place, word);
        let is_hash = found.iter().all(u8::is_ascii_hexdigit);
        let mixes = found.iter().any(u8::is_ascii_lowercase) && found.iter().any(u8::is_ascii_uppercase);
        if found.len() == 40 && !is_hash && mixes {
            return Some((place, word));
        }
        place = word + 1;
    }
    None
}
