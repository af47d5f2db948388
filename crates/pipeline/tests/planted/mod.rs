//! Lines with secrets planted in them, and lines that only look as if: what redaction is measured by.
//!
//! Written from vendors' documents of their formats and from how programs log, not from the tables of the redactor. The
//! same seed gives the same lines.

use kenning_stdx::random::Random;

/// A line and what must not be in it after redaction.
pub struct Planted {
    /// What was planted: its kind.
    pub kind: &'static str,
    /// How it stands in the line.
    pub context: &'static str,
    /// The secret as it stands there.
    pub secret: String,
    /// The line.
    pub line: String,
    /// The line is a JSON object.
    pub is_json: bool,
}

const UPPER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const LOWER: &str = "abcdefghijklmnopqrstuvwxyz";
const DIGIT: &str = "0123456789";
const HEX: &str = "0123456789abcdef";

pub fn pick<'a, T: ?Sized>(random: &mut Random, list: &[&'a T]) -> &'a T {
    list[random.next_u64() as usize % list.len()]
}

fn of(random: &mut Random, alphabet: &str, len: usize) -> String {
    let alphabet = alphabet.as_bytes();
    (0..len).map(|_| char::from(alphabet[random.next_u64() as usize % alphabet.len()])).collect()
}

fn below(random: &mut Random, bound: u64) -> u64 {
    random.next_u64() % bound
}

fn alnum(random: &mut Random, len: usize) -> String {
    // Real tokens of such length have digits; short ones are made to.
    let mut text = of(random, &[UPPER, LOWER, DIGIT].concat(), len.saturating_sub(2));
    text.push_str(&of(random, DIGIT, 1));
    text.push_str(&of(random, LOWER, 1));
    text
}

fn word(random: &mut Random, len: usize) -> String {
    let mut text = of(random, &[UPPER, LOWER, DIGIT, "_-"].concat(), len - 1);
    text.push_str(&of(random, LOWER, 1));
    text
}

fn base64(random: &mut Random, len: usize) -> String {
    of(random, &[UPPER, LOWER, DIGIT, "+/"].concat(), len)
}

fn encode64(bytes: &[u8], is_url: bool) -> String {
    let alphabet = [UPPER, LOWER, DIGIT, if is_url { "-_" } else { "+/" }].concat().into_bytes();
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let n = chunk.iter().chain([&0, &0]).take(3).fold(0usize, |n, byte| n << 8 | usize::from(*byte));
        (0..=chunk.len()).for_each(|i| out.push(char::from(alphabet[n >> (18 - 6 * i) & 63])));
        if !is_url {
            (chunk.len()..3).for_each(|_| out.push('='));
        }
    }
    out
}

/// Tokens that are known by their form.
pub fn token(random: &mut Random) -> (&'static str, String) {
    let r = random;
    match below(r, 34) {
        0 => ("aws_key", format!("AKIA{}", of(r, &[UPPER, "234567"].concat(), 16))),
        1 => ("aws_key", format!("ASIA{}", of(r, &[UPPER, "234567"].concat(), 16))),
        2 => ("github", format!("{}_{}", pick(r, &["ghp", "gho", "ghu", "ghs", "ghr"]), alnum(r, 36))),
        3 => ("github", format!("github_pat_{}_{}", alnum(r, 22), alnum(r, 59))),
        4 => ("gitlab", format!("glpat-{}", word(r, 20))),
        5 => ("gitlab", format!("{}-{}", pick(r, &["gldt", "glrt", "glptt", "glft"]), word(r, 20))),
        6 => ("slack", format!("xoxb-{}-{}-{}", of(r, DIGIT, 12), of(r, DIGIT, 13), alnum(r, 24))),
        7 => (
            "slack",
            format!("xoxp-{}-{}-{}-{}", of(r, DIGIT, 11), of(r, DIGIT, 11), of(r, DIGIT, 12), of(r, HEX, 32)),
        ),
        8 => (
            "slack",
            format!(
                "xapp-1-A{}-{}-{}",
                of(r, &[UPPER, DIGIT].concat(), 10),
                of(r, DIGIT, 13),
                of(r, HEX, 64)
            ),
        ),
        9 => {
            ("stripe", format!("{}_{}_{}", pick(r, &["sk", "rk"]), pick(r, &["live", "test"]), alnum(r, 24)))
        }
        10 => ("stripe", format!("sk_live_51{}", alnum(r, 97))),
        11 => ("stripe", format!("whsec_{}", alnum(r, 32))),
        12 => ("google", format!("AIza{}", word(r, 35))),
        13 => ("google", format!("GOCSPX-{}", word(r, 28))),
        14 => ("google", format!("ya29.{}", word(r, 120))),
        15 => ("openai", format!("sk-{}T3BlbkFJ{}", alnum(r, 20), alnum(r, 20))),
        16 => ("openai", format!("sk-proj-{}", word(r, 74))),
        17 => ("openai", format!("sk-ant-api03-{}AA", word(r, 93))),
        18 => ("sendgrid", format!("SG.{}.{}", word(r, 22), word(r, 43))),
        19 => ("npm", format!("npm_{}", alnum(r, 36))),
        20 => ("pypi", format!("pypi-AgEIcHlwaS5vcmc{}", word(r, 90))),
        21 | 22 => ("jwt", jwt(r)),
        23 => ("huggingface", format!("hf_{}", alnum(r, 34))),
        24 => ("digitalocean", format!("dop_v1_{}", of(r, HEX, 64))),
        25 => ("vault", format!("hvs.{}", word(r, 90))),
        26 => ("grafana", format!("glsa_{}_{}", alnum(r, 32), of(r, HEX, 8))),
        27 => ("shopify", format!("shpat_{}", of(r, HEX, 32))),
        28 => ("telegram", format!("{}:AA{}", of(r, "123456789", 10), word(r, 33))),
        29 => ("databricks", format!("dapi{}", of(r, HEX, 32))),
        30 => ("docker", format!("dckr_pat_{}", word(r, 27))),
        31 => ("newrelic", format!("NRAK-{}", of(r, &[UPPER, DIGIT].concat(), 27))),
        32 => ("linear", format!("lin_api_{}", alnum(r, 40))),
        _ => ("postman", format!("PMAK-{}-{}", of(r, HEX, 24), of(r, HEX, 34))),
    }
}

fn jwt(random: &mut Random) -> String {
    let algorithm = pick(random, &["HS256", "RS256", "ES384", "EdDSA"]);
    let head = match below(random, 4) {
        0 => format!(r#"{{"alg":"{algorithm}","typ":"JWT"}}"#),
        1 => format!(r#"{{"typ":"JWT","alg":"{algorithm}"}}"#),
        2 => format!(r#"{{"alg":"{algorithm}","kid":"{}","typ":"JWT"}}"#, of(random, HEX, 16)),
        _ => format!(r#"{{"kid":"{}","alg":"{algorithm}"}}"#, of(random, HEX, 8)),
    };
    let body = format!(
        r#"{{"sub":"{}","iat":{},"name":"ann"}}"#,
        of(random, DIGIT, 8),
        1_700_000_000 + below(random, 99_999_999)
    );
    format!("{}.{}.{}", encode64(head.as_bytes(), true), encode64(body.as_bytes(), true), word(random, 43))
}

fn luhn_digit(digits: &str) -> char {
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(i, digit)| {
            let digit = u32::from(digit - b'0') * if i % 2 == 0 { 2 } else { 1 };
            digit / 10 + digit % 10
        })
        .sum();
    char::from(b'0' + ((10 - sum % 10) % 10) as u8)
}

fn card(random: &mut Random) -> String {
    let (prefix, len): (&str, usize) = match below(random, 6) {
        0 | 1 => ("4", 16),
        2 => (pick(random, &["51", "52", "53", "54", "55", "2221", "2720"]), 16),
        3 => (pick(random, &["34", "37"]), 15),
        4 => (pick(random, &["6011", "65"]), 16),
        _ => ("3530", 16),
    };
    let mut digits = prefix.to_owned() + &of(random, DIGIT, len - 1 - prefix.len());
    digits.push(luhn_digit(&digits));
    let separator = pick(random, &["", "", " ", "-"]);
    let cuts: &[usize] = if len == 15 { &[4, 10] } else { &[4, 8, 12] };
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if cuts.contains(&i) {
            out.push_str(separator);
        }
        out.push(digit);
    }
    out
}

fn iban(random: &mut Random) -> String {
    let (country, body) = match below(random, 6) {
        0 => ("DE", of(random, DIGIT, 18)),
        1 => ("GB", of(random, UPPER, 4) + &of(random, DIGIT, 14)),
        2 => {
            ("FR", of(random, DIGIT, 10) + &of(random, &[UPPER, DIGIT].concat(), 11) + &of(random, DIGIT, 2))
        }
        3 => ("NL", of(random, UPPER, 4) + &of(random, DIGIT, 10)),
        4 => ("NO", of(random, DIGIT, 11)),
        _ => ("CH", of(random, DIGIT, 5) + &of(random, &[UPPER, DIGIT].concat(), 12)),
    };
    let moved = format!("{body}{country}00");
    let rest = moved.chars().fold(0u32, |rest, c| match c.to_digit(36) {
        Some(n) if n > 9 => (rest * 100 + n) % 97,
        Some(n) => (rest * 10 + n) % 97,
        None => rest,
    });
    let whole = format!("{country}{:02}{body}", 98 - rest);
    if below(random, 2) == 0 {
        return whole;
    }
    whole
        .as_bytes()
        .chunks(4)
        .map(|chunk| String::from_utf8_lossy(chunk).into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

fn email(random: &mut Random) -> String {
    let name = pick(random, &["ann.lee", "bob", "carla_m", "d.o-hara", "eve+news", "f1999", "info", "x"]);
    let domain = pick(
        random,
        &[
            "example.com",
            "mail.example.co.uk",
            "uni-bonn.de",
            "x.io",
            "sub.domain.example.museum",
            "gmail.com",
        ],
    );
    format!("{name}@{domain}")
}

fn private_key(random: &mut Random, line_end: &str) -> String {
    let label = pick(
        random,
        &[
            "RSA PRIVATE KEY",
            "PRIVATE KEY",
            "EC PRIVATE KEY",
            "OPENSSH PRIVATE KEY",
            "ENCRYPTED PRIVATE KEY",
            "DSA PRIVATE KEY",
        ],
    );
    let lines: Vec<String> = (0..4).map(|_| base64(random, 64)).collect();
    format!("-----BEGIN {label}-----{line_end}{}{line_end}-----END {label}-----", lines.join(line_end))
}

/// A password as people and generators make them, without what its context would need to escape.
fn password(random: &mut Random) -> String {
    match below(random, 8) {
        0 => pick(
            random,
            &[
                "hunter2",
                "letmein",
                "correcthorse",
                "Passw0rd!",
                "qwerty123",
                "s3cr3t",
                "trustno1",
                "P@ssw0rd",
            ],
        )
        .to_owned(),
        1 => of(random, LOWER, 12),
        2 => of(random, DIGIT, 8),
        3 => of(random, &[UPPER, LOWER, DIGIT, "!#$%^*-_+.~"].concat(), 16) + "a",
        4 => of(random, HEX, 32),
        5 => base64(random, 43) + "=",
        6 => format!("{}-{}-{}", of(random, LOWER, 5), of(random, LOWER, 6), of(random, LOWER, 4)),
        _ => alnum(random, 20),
    }
}

/// Something nobody guesses, as tokens, sessions and keys are.
fn opaque(random: &mut Random) -> String {
    match below(random, 5) {
        0 => of(random, HEX, 32),
        1 => alnum(random, 24),
        2 => word(random, 43),
        3 => uuid(random),
        _ => base64(random, 38) + "==",
    }
}

pub fn uuid(random: &mut Random) -> String {
    let h = |random: &mut Random, len| of(random, HEX, len);
    format!("{}-{}-4{}-a{}-{}", h(random, 8), h(random, 4), h(random, 3), h(random, 3), h(random, 12))
}

/// A name that says that its value is a secret, and such a value.
fn named(random: &mut Random) -> (&'static str, String, String) {
    let passwords = [
        "password",
        "Password",
        "PASSWORD",
        "passwd",
        "pwd",
        "db_password",
        "DB_PASSWORD",
        "user_password",
        "userPassword",
        "passphrase",
        "spring.datasource.password",
        "MYSQL_ROOT_PASSWORD",
        "PGPASSWORD",
        "new_password",
        "old-password",
        "admin_pass",
        "smtp_pass",
        "ldap.bind.password",
    ];
    let secrets = [
        "secret",
        "client_secret",
        "clientSecret",
        "CLIENT_SECRET",
        "app_secret",
        "secret_key",
        "SECRET_KEY",
        "jwt_secret",
        "webhook-secret",
        "shared_secret",
        "encryption_key",
        "signing_key",
    ];
    let tokens = [
        "token",
        "access_token",
        "accessToken",
        "ACCESS_TOKEN",
        "refresh_token",
        "id_token",
        "auth_token",
        "X-Auth-Token",
        "csrf_token",
        "bot_token",
        "api_token",
        "x-amz-security-token",
        "session_token",
        "device_token",
    ];
    let keys = [
        "api_key",
        "apikey",
        "apiKey",
        "API_KEY",
        "x-api-key",
        "X-Api-Key",
        "access_key",
        "accessKey",
        "secret_access_key",
        "aws_secret_access_key",
        "private_key",
        "Ocp-Apim-Subscription-Key",
    ];
    let sessions =
        ["session_id", "sessionId", "SESSIONID", "PHPSESSID", "JSESSIONID", "session", "connect.sid"];
    match below(random, 5) {
        0 => ("password", pick(random, &passwords).to_owned(), password(random)),
        1 => ("secret", pick(random, &secrets).to_owned(), opaque(random)),
        2 => ("token", pick(random, &tokens).to_owned(), opaque(random)),
        3 => ("key", pick(random, &keys).to_owned(), opaque(random)),
        _ => ("session", pick(random, &sessions).to_owned(), opaque(random)),
    }
}

fn prefix(random: &mut Random) -> String {
    match below(random, 4) {
        0 => String::new(),
        1 => format!("2026-11-21T10:{:02}:07.{:03}Z INFO ", below(random, 60), below(random, 1000)),
        2 => format!(
            "Nov 21 10:{:02}:11 web-{} app[{}]: ",
            below(random, 60),
            below(random, 20),
            below(random, 30_000)
        ),
        _ => "[main] DEBUG c.e.s.Client - ".to_owned(),
    }
}

fn percent(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A name with its secret, in one of the ways in which programs write the two.
fn pair(random: &mut Random) -> Planted {
    let (kind, name, secret) = named(random);
    let before = prefix(random);
    let (n, s) = (&name, &secret);
    let n_id = 1 + below(random, 9000);
    let (context, line, secret) = match below(random, 26) {
        0 => ("logfmt", format!("level=info {n}={s} user=ann id={n_id}"), secret),
        1 => ("logfmt quoted", format!("level=info {n}=\"{s}\" user=ann"), secret),
        2 => ("json", format!(r#"{{"level":"info","{n}":"{s}","user":"ann"}}"#), secret),
        3 => ("json with spaces", format!(r#"{{ "user" : "ann", "{n}" : "{s}" }}"#), secret),
        4 => ("json nested", format!(r#"{{"a":{{"b":[{{"{n}":"{s}"}}]}},"id":{n_id}}}"#), secret),
        5 => {
            let inner = format!(r#"{{"user":"ann","{n}":"{s}"}}"#);
            ("json in json", format!(r#"{{"msg":{},"id":{n_id}}}"#, quoted(&inner)), secret)
        }
        6 => {
            let inner = quoted(&format!(r#"{{"{n}":"{s}"}}"#));
            let outer = format!(r#"{{"body":{inner}}}"#);
            ("json in json in json", format!(r#"{{"msg":{}}}"#, quoted(&outer)), secret)
        }
        7 => ("json message", format!(r#"{{"level":"warn","msg":"retry with {n}={s} now"}}"#), secret),
        8 => ("colon", format!("{before}{n}: {s}"), secret),
        9 => ("colon, more follows", format!("{before}{n}: {s}, user: ann"), secret),
        10 => ("query", format!("GET /cb?user=ann&{n}={}&id={n_id} HTTP/1.1 200", percent(s)), percent(s)),
        11 => (
            "query, go json",
            format!(r#"{{"url":"/cb?id={n_id}\u0026{n}={}\u0026x=1"}}"#, percent(s)),
            percent(s),
        ),
        12 => ("form", format!("{before}body: user=ann&{n}={}", percent(s)), percent(s)),
        13 => ("flag", format!("{before}exec /bin/app --{n}={s} --verbose"), secret),
        14 => ("flag with space", format!("{before}exec /bin/app --{n} {s} --verbose"), secret),
        15 => {
            ("environment", format!("{before}env {}={s}", n.to_uppercase().replace(['-', '.'], "_")), secret)
        }
        16 => ("export", format!("export {}='{s}'", n.to_uppercase().replace(['-', '.'], "_")), secret),
        17 => ("python", format!("{before}{{'user': 'ann', '{n}': '{s}', 'id': {n_id}}}"), secret),
        18 => ("ruby", format!("{before}Parameters: {{\"user\"=>\"ann\", \"{n}\"=>\"{s}\"}}"), secret),
        19 => ("go map", format!("{before}config map[{n}:{s} user:ann]"), secret),
        20 => ("java", format!("{before}Config(user=ann, {n}={s}, id={n_id})"), secret),
        21 => ("xml", format!("{before}<user>ann</user><{n}>{s}</{n}>"), secret),
        22 => ("yaml", format!("user: ann\n{n}: \"{s}\"\nid: {n_id}"), secret),
        23 => ("connection string", format!("{before}Server=db;User=ann;{n}={s};Encrypt=True"), secret),
        24 => ("name and value", format!(r#"{{"env":[{{"name":"{n}","value":"{s}"}}]}}"#), secret),
        _ => ("header", format!("{before}> {n}: {s}"), secret),
    };
    let is_json = line.starts_with('{') && line.contains('"') && !line.contains('\'');
    Planted { kind, context, secret, line, is_json }
}

/// A secret that shows what it is, somewhere in a line.
fn alone(random: &mut Random) -> Planted {
    let (kind, secret) = match below(random, 10) {
        0 => ("card", card(random)),
        1 => ("iban", iban(random)),
        2 => ("email", email(random)),
        3 => ("jwt", jwt(random)),
        _ => token(random),
    };
    let (before, s, id) = (prefix(random), secret.as_str(), below(random, 100_000));
    let (context, line) = match below(random, 10) {
        0 => ("in words", format!("{before}got {s} from client {id}")),
        1 => ("at the end", format!("{before}value {s}")),
        2 => ("at the start", format!("{s} was used")),
        3 => ("json", format!(r#"{{"id":{id},"detail":"{s}"}}"#)),
        4 => ("json message", format!(r#"{{"id":{id},"msg":"found {s}, ignored"}}"#)),
        5 => ("after an escape", format!(r#"{{"msg":"first\n{s}\nlast"}}"#)),
        6 => ("parentheses", format!("{before}call({s}) = {id}")),
        7 => ("comma", format!("{before}{id},{s},x")),
        8 => ("logfmt", format!("level=warn detail=\"{s}\" id={id}")),
        _ => ("angle brackets", format!("{before}<{s}> {id}")),
    };
    let is_json = line.starts_with('{');
    Planted { kind, context, secret, line, is_json }
}

/// Credentials in the forms of protocols.
fn protocol(random: &mut Random) -> Planted {
    let before = prefix(random);
    let pass = alnum(random, 14);
    let (kind, context, secret, line) = match below(random, 16) {
        0 => {
            let t = opaque(random);
            ("bearer", "header", t.clone(), format!("{before}Authorization: Bearer {t}"))
        }
        1 => {
            let t = opaque(random);
            (
                "bearer",
                "curl",
                t.clone(),
                format!("{before}curl -H \"Authorization: Bearer {t}\" https://api.example.net/v1"),
            )
        }
        2 => {
            let t = opaque(random);
            (
                "bearer",
                "json",
                t.clone(),
                format!(r#"{{"headers":{{"Authorization":"Bearer {t}","Accept":"*/*"}}}}"#),
            )
        }
        3 => {
            let t = encode64(format!("ann:{pass}").as_bytes(), false);
            ("basic", "header", t.clone(), format!("{before}authorization: Basic {t}"))
        }
        4 => {
            let t = encode64(format!("ann:{pass}").as_bytes(), false);
            ("basic", "alone", t.clone(), format!("{before}sent Basic {t} to upstream"))
        }
        5 => {
            let t = opaque(random);
            ("token", "scheme", t.clone(), format!("{before}Authorization: Token {t}"))
        }
        6 => {
            let t = of(random, HEX, 32);
            (
                "digest",
                "header",
                t.clone(),
                format!(
                    "{before}Authorization: Digest username=\"ann\", realm=\"x\", uri=\"/\", response=\"{t}\""
                ),
            )
        }
        7 => {
            let t = of(random, HEX, 64);
            (
                "aws4",
                "header",
                t.clone(),
                format!(
                    "{before}Authorization: AWS4-HMAC-SHA256 Credential=x/20261121/eu/s3/aws4_request, SignedHeaders=host, Signature={t}"
                ),
            )
        }
        8 => {
            let t = opaque(random);
            ("cookie", "header", t.clone(), format!("{before}Cookie: theme=dark; id={t}; lang=en"))
        }
        9 => {
            let t = opaque(random);
            ("cookie", "set", t.clone(), format!("{before}Set-Cookie: id={t}; Path=/; HttpOnly; Secure"))
        }
        10 => {
            let t = opaque(random);
            (
                "cookie",
                "json",
                t.clone(),
                format!(r#"{{"req":{{"cookie":"theme=dark; id={t}","host":"x"}}}}"#),
            )
        }
        11 => {
            let scheme = pick(random, &["postgres", "mysql", "redis", "amqp", "mongodb+srv", "https", "ftp"]);
            (
                "url",
                "url",
                pass.clone(),
                format!("{before}connect {scheme}://ann:{pass}@db.example.net:5432/app"),
            )
        }
        12 => (
            "url",
            "dsn",
            pass.clone(),
            format!("{before}dsn=ann:{pass}@tcp(10.0.0.5:3306)/app?parseTime=true"),
        ),
        13 => (
            "password",
            "curl -u",
            pass.clone(),
            format!("{before}curl -u ann:{pass} https://api.example.net"),
        ),
        14 => {
            ("password", "sql", pass.clone(), format!("{before}CREATE USER 'ann'@'%' IDENTIFIED BY '{pass}'"))
        }
        _ => {
            let hook = format!("T{}/B{}/{}", of(random, UPPER, 8), of(random, UPPER, 8), alnum(random, 24));
            (
                "slack",
                "webhook",
                hook.clone(),
                format!("{before}POST https://hooks.slack.com/services/{hook} 200"),
            )
        }
    };
    let is_json = line.starts_with('{');
    Planted { kind, context, secret, line, is_json }
}

fn key_block(random: &mut Random) -> Planted {
    let is_json = below(random, 2) == 0;
    let key = private_key(random, if is_json { "\\n" } else { "\n" });
    let body: String = key.chars().skip(40).take(64).collect();
    let line = match is_json {
        true => format!(r#"{{"file":"{key}\n","id":1}}"#),
        false => format!("loaded {key} done"),
    };
    Planted {
        kind: "private key",
        context: if is_json { "json" } else { "text" },
        secret: body,
        line,
        is_json,
    }
}

/// Lines with a secret each.
pub fn planted(seed: u64, count: usize) -> Vec<Planted> {
    let mut random = Random::seeded(seed);
    let random = &mut random;
    (0..count)
        .map(|_| match below(random, 20) {
            0..=9 => pair(random),
            10..=14 => alone(random),
            15..=18 => protocol(random),
            _ => key_block(random),
        })
        .collect()
}

/// Lines as busy services write them, without anything secret, full of what looks like it.
pub fn clean(seed: u64, count: usize) -> Vec<String> {
    let mut random = Random::seeded(seed);
    (0..count).map(|_| clean_line(&mut random)).collect()
}

fn clean_line(random: &mut Random) -> String {
    let r = random;
    let (id, trace, span) = (below(r, 10_000_000), of(r, HEX, 32), of(r, HEX, 16));
    match below(r, 16) {
        0 => format!(
            r#"{{"level":"info","msg":"request done","trace_id":"{trace}","span_id":"{span}","status":200,"ms":{}}}"#,
            below(r, 900)
        ),
        1 => format!(
            "level=info msg=\"request done\" trace_id={trace} span_id={span} order_id={} bytes={id}",
            of(r, "123456789", 16)
        ),
        2 => format!("commit {} by build {}", of(r, HEX, 40), uuid(r)),
        3 => format!("pulled image sha256:{} in {} ms", of(r, HEX, 64), below(r, 9000)),
        4 => format!("user {} session opened, request {}", uuid(r), uuid(r)),
        5 => format!(
            "Failed password for invalid user u{id} from 10.1.{}.{} port {} ssh2",
            below(r, 255),
            below(r, 255),
            below(r, 60_000)
        ),
        6 => format!("token expired, {} tokens left of max_tokens={}", below(r, 4000), below(r, 9000)),
        7 => format!("cache_key=user:{id} hit=true ttl={}s etag=\"{}\"", below(r, 900), of(r, HEX, 32)),
        8 => format!(
            "block blk_{} size {} at {}",
            of(r, "123456789", 19),
            id,
            1_700_000_000_000_000_000u64 + below(r, 99_999_999_999)
        ),
        9 => format!(
            "GET /orders/{}?page={}&sort=key&trace={trace} HTTP/1.1 200 {}",
            of(r, "123456789", 12),
            below(r, 50),
            below(r, 90_000)
        ),
        10 => format!("password reset requested for user {id}; authentication method: password"),
        11 => format!(
            "java.lang.IllegalStateException: bad state at c.e.Auth.check(Auth.java:{}) [object@{}]",
            below(r, 900),
            of(r, HEX, 8)
        ),
        12 => format!(
            "partition_key={} primary_key={id} author=svc-{} passed={} secret_name=db-main",
            of(r, LOWER, 8),
            below(r, 50),
            below(r, 50)
        ),
        13 => format!(
            "phase=compile elapsed={}.{}s rate={} rows={} ts={}",
            below(r, 90),
            below(r, 999),
            below(r, 99_999),
            id,
            1_700_000_000_000u64 + below(r, 99_999_999)
        ),
        14 => format!(
            "unit getty@tty{}.service started, pkg@{}.{}.{} ok, git@github.com:acme/app.git",
            below(r, 9),
            below(r, 9),
            below(r, 9),
            below(r, 9)
        ),
        _ => format!(
            "session {} closed for user u{} (uid={}), key exchange ok, cookie domain unset",
            below(r, 9000),
            below(r, 99),
            below(r, 9999)
        ),
    }
}
