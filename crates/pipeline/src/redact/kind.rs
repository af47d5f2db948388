//! What can be found.

use std::fmt;

macro_rules! kinds {
    ($($variant:ident $word:literal $default:literal $doc:literal),* $(,)?) => {
        /// A kind of secret or of personal data.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $(#[doc = $doc] $variant,)*
        }

        impl Kind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The word in settings, labels and replacements.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// True when it is looked for unless settings say otherwise.
            #[must_use]
            pub const fn is_default(self) -> bool {
                match self { $(Self::$variant => $default,)* }
            }

            /// What it covers, for the reference page.
            #[must_use]
            pub const fn about(self) -> &'static str {
                match self { $(Self::$variant => $doc,)* }
            }
        }
    };
}

kinds! {
    Password "password" true "Values under names such as password, passwd, pwd, passphrase, pin; SQL's IDENTIFIED BY",
    Secret "secret" true "Values under names such as secret, client_secret, signing_key, credentials",
    Token "token" true "Values under names such as token, access_token, jwt, otp, signature",
    ApiKey "api_key" true "Values under names such as api_key, apikey, access_key, license_key",
    Authorization "authorization" true "Authorization headers of any scheme; Bearer and Basic credentials on their own",
    Cookie "cookie" true "Cookie and Set-Cookie headers",
    Session "session" true "Values under names such as session_id, PHPSESSID, connect.sid",
    PrivateKey "private_key" true "Private key blocks (PEM, PGP, SSH2), age keys, values under names such as private_key",
    UrlPassword "url_password" true "The password of user:password@host in URLs and data source names",
    Jwt "jwt" true "JSON web tokens, signed or encrypted",
    AwsKey "aws_key" true "Access key ids of AWS, and the secret key near one",
    GoogleKey "google_key" true "API keys, OAuth client secrets and access tokens of Google",
    GithubToken "github_token" true "Tokens of GitHub",
    GitlabToken "gitlab_token" true "Tokens of GitLab",
    SlackToken "slack_token" true "Tokens and webhooks of Slack",
    StripeKey "stripe_key" true "Secret, restricted and webhook keys of Stripe",
    OpenaiKey "openai_key" true "Keys of OpenAI and of those who write theirs alike",
    SendgridKey "sendgrid_key" true "Keys of SendGrid",
    NpmToken "npm_token" true "Tokens of npm",
    PypiToken "pypi_token" true "Tokens of PyPI",
    VendorToken "vendor_token" true "Tokens of some fifty other vendors that are known by their prefix",
    CreditCard "credit_card" true "Payment card numbers: issuer prefix, length and check digit; values named cvv",
    Iban "iban" true "International bank account numbers: country, length and check digits",
    Email "email" true "E-mail addresses",
    Ssn "ssn" true "US social security numbers that are named as such",
    Phone "phone" false "Phone numbers in international form, or in North American form with separators",
    Ip "ip" false "IPv4 and IPv6 addresses",
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Kind {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == word).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|kind| kind.as_str()).collect();
            format!("\"{word}\" is no kind; known are {}", known.join(", "))
        })
    }
}
