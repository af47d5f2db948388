//! A small resolver for `dns_sd_configs`. Definition: RFC 1035, RFC 2782 (SRV), RFC 6891 (size of answers), resolv.conf(5).
//!
//! Asks the servers of `resolv.conf` one after the other over UDP, and over TCP when the answer was cut off. Promises:
//! answers are bounded, names are walked a bounded number of times, and only the server that was asked is listened to.
//! Absent: a cache (discovery asks at its own pace), DNSSEC, IDNA.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use kenning_stdx::files::Files;
use kenning_stdx::net::Net;
use kenning_stdx::net::udp::{Datagrams, UdpPort};
use kenning_stdx::random::Random;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Where servers and search domains are.
const RESOLV_CONF: &str = "/etc/resolv.conf";
const RESOLV_CONF_BYTES_MAX: usize = 1 << 20;
/// Servers that are asked. Definition: resolv.conf(5) `MAXNS`.
const SERVERS_MAX: usize = 3;
/// Search domains that are tried.
const SEARCH_MAX: usize = 32;
/// Largest answer over UDP that is asked for.
const UDP_BYTES_MAX: usize = 4096;
/// Pointers that a compressed name may follow.
const POINTERS_MAX: usize = 64;
/// Datagrams of others that are passed over while an answer is awaited.
const FOREIGN_MAX: usize = 64;
const PORT: u16 = 53;

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// `A` and `AAAA`.
    Address(IpAddr),
    /// Host and port, the host with its last dot.
    Srv(String, u16),
    /// A mail exchange.
    Mx(String),
    /// A name server.
    Ns(String),
}

/// The number of a record type.
fn number_of(record: &str) -> u16 {
    match record {
        "A" => 1,
        "NS" => 2,
        "MX" => 15,
        "AAAA" => 28,
        _ => 33,
    }
}

/// What `resolv.conf` says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Settings {
    servers: Vec<IpAddr>,
    search: Vec<String>,
    ndots: usize,
    timeout: Duration,
    attempts: usize,
}

impl Settings {
    fn read(text: &str) -> Self {
        let mut settings = Self {
            servers: Vec::new(),
            search: Vec::new(),
            ndots: 1,
            timeout: Duration::from_secs(5),
            attempts: 2,
        };
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    settings.servers.extend(words.next().and_then(|word| word.parse::<IpAddr>().ok()))
                }
                Some("domain") => settings.search = words.take(1).map(str::to_owned).collect(),
                Some("search") => settings.search = words.take(SEARCH_MAX).map(str::to_owned).collect(),
                Some("options") => words.for_each(|word| settings.option(word)),
                _ => {}
            }
        }
        settings.servers.truncate(SERVERS_MAX);
        if settings.servers.is_empty() {
            settings.servers.push(Ipv4Addr::LOCALHOST.into());
        }
        settings
    }

    fn option(&mut self, word: &str) {
        let Some((name, Ok(number))) = word.split_once(':').map(|(name, n)| (name, n.parse::<u64>())) else {
            return;
        };
        match name {
            "ndots" => self.ndots = number.min(15) as usize,
            "timeout" => self.timeout = Duration::from_secs(number.clamp(1, 30)),
            "attempts" => self.attempts = number.clamp(1, 5) as usize,
            _ => {}
        }
    }

    /// The full names to try for one that may be short, in order.
    fn names(&self, name: &str) -> Vec<String> {
        if name.ends_with('.') {
            return vec![name.to_owned()];
        }
        let rooted = format!("{name}.");
        let searched = self.search.iter().map(|domain| format!("{name}.{}.", domain.trim_end_matches('.')));
        if name.matches('.').count() >= self.ndots {
            std::iter::once(rooted).chain(searched).collect()
        } else {
            searched.chain(std::iter::once(rooted)).collect()
        }
    }
}

/// Looks names up.
pub(super) struct Resolver {
    net: Arc<dyn Net>,
    files: Arc<dyn Files>,
    random: Random,
    port: u16,
}

impl Resolver {
    pub fn new(net: Arc<dyn Net>, files: Arc<dyn Files>) -> Self {
        Self { net, files, random: Random::from_os(), port: PORT }
    }

    /// The records of a name; none when it has none. An error when nobody could say.
    pub async fn look_up(&mut self, name: &str, record: &str) -> Result<Vec<Record>, String> {
        let files = self.files.clone();
        let read = tokio::task::spawn_blocking(move || files.read(RESOLV_CONF, RESOLV_CONF_BYTES_MAX));
        let text = read.await.map_err(|error| error.to_string())?;
        let text = text.map_err(|error| format!("cannot read {RESOLV_CONF}: {error}"))?;
        let settings = Settings::read(&String::from_utf8_lossy(&text));
        let mut failure = None;
        for full in settings.names(name) {
            match self.ask_any(&settings, &full, number_of(record)).await {
                Ok(records) if !records.is_empty() => return Ok(records),
                Ok(_) => {}
                Err(error) => failure = Some(error),
            }
        }
        failure.map_or(Ok(Vec::new()), |error| Err(format!("could not resolve {name:?}: {error}")))
    }

    async fn ask_any(&mut self, settings: &Settings, name: &str, number: u16) -> Result<Vec<Record>, String> {
        let mut failure = String::new();
        for _ in 0..settings.attempts {
            for server in &settings.servers {
                let server = SocketAddr::new(*server, self.port);
                let asked = tokio::time::timeout(settings.timeout, self.ask(server, name, number)).await;
                match asked.unwrap_or_else(|_| Err("no answer in time".to_owned())) {
                    Ok(records) => return Ok(records),
                    Err(error) => failure = format!("{server}: {error}"),
                }
            }
        }
        Err(failure)
    }

    async fn ask(&mut self, server: SocketAddr, name: &str, number: u16) -> Result<Vec<Record>, String> {
        let id = self.random.next_u64() as u16;
        let question = question(id, name, number)?;
        let any = match server.ip() {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let port = UdpPort::bind(SocketAddr::new(any, 0), UDP_BYTES_MAX).await.map_err(|e| e.to_string())?;
        port.send(&question, server).await.map_err(|error| error.to_string())?;
        let mut buffer = vec![0; UDP_BYTES_MAX];
        for _ in 0..FOREIGN_MAX {
            let (len, from) = port.receive(&mut buffer).await.map_err(|error| error.to_string())?;
            let message = buffer.get(..len).unwrap_or_default();
            if from != server || message.get(..2) != Some(&id.to_be_bytes()[..]) {
                continue;
            }
            return match Answer::read(message, number)? {
                Answer::CutOff => self.ask_over_tcp(server, &question, number).await,
                Answer::Records(records) => Ok(records),
            };
        }
        Err("answers are those of others".to_owned())
    }

    async fn ask_over_tcp(
        &self,
        server: SocketAddr,
        question: &[u8],
        number: u16,
    ) -> Result<Vec<Record>, String> {
        let exchange = async {
            let mut stream = self.net.connect(&server.to_string()).await?;
            let mut message = (question.len() as u16).to_be_bytes().to_vec();
            message.extend_from_slice(question);
            stream.write_all(&message).await?;
            // The length is 16 bits wide, which bounds the answer.
            let len = stream.read_u16().await?;
            let mut answer = vec![0; usize::from(len)];
            stream.read_exact(&mut answer).await?;
            Ok::<_, std::io::Error>(answer)
        };
        let answer = exchange.await.map_err(|error| error.to_string())?;
        match Answer::read(&answer, number)? {
            _ if answer.get(..2) != question.get(..2) => Err("the answer is another's".to_owned()),
            Answer::Records(records) => Ok(records),
            Answer::CutOff => Err("the answer is cut off over TCP too".to_owned()),
        }
    }
}

/// A query for one name, with recursion and room for long answers.
fn question(id: u16, name: &str, number: u16) -> Result<Vec<u8>, String> {
    let mut out = id.to_be_bytes().to_vec();
    out.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
    for label in name.trim_end_matches('.').split('.').filter(|_| name != ".") {
        let len = u8::try_from(label.len()).ok().filter(|len| (1..64).contains(len));
        out.push(len.ok_or_else(|| format!("{name:?} is not a domain name"))?);
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    if out.len() > 12 + 255 {
        return Err(format!("{name:?} is longer than a domain name may be"));
    }
    out.extend_from_slice(&number.to_be_bytes());
    out.extend_from_slice(&[0, 1]);
    // OPT: the root, type 41, the size as the class.
    out.extend_from_slice(&[0, 0, 41]);
    out.extend_from_slice(&(UDP_BYTES_MAX as u16).to_be_bytes());
    out.extend_from_slice(&[0; 6]);
    Ok(out)
}

#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Records(Vec<Record>),
    /// There is more than fits a datagram.
    CutOff,
}

impl Answer {
    fn read(message: &[u8], number: u16) -> Result<Self, String> {
        Self::parse(message, number).unwrap_or_else(|| Err("the answer is malformed".to_owned()))
    }

    /// `None` for a message that ends too early.
    fn parse(message: &[u8], number: u16) -> Option<Result<Self, String>> {
        let flags = word(message, 2)?;
        if flags & 0x8000 == 0 {
            return Some(Err("the answer is a question".to_owned()));
        }
        // Names that do not exist have no records; every other code is a failure.
        match flags & 0xf {
            0 => {}
            3 => return Some(Ok(Self::Records(Vec::new()))),
            code => return Some(Err(format!("the server answered with code {code}"))),
        }
        if flags & 0x0200 != 0 {
            return Some(Ok(Self::CutOff));
        }
        let mut at = 12;
        for _ in 0..word(message, 4)? {
            at = name(message, at)?.1 + 4;
        }
        let mut records = Vec::new();
        for _ in 0..word(message, 6)? {
            at = name(message, at)?.1;
            let (kind, len) = (word(message, at)?, usize::from(word(message, at + 8)?));
            let data = at + 10;
            if kind == number {
                records.push(record(message, kind, data, len)?);
            }
            at = data + len;
        }
        (at <= message.len()).then_some(Ok(Self::Records(records)))
    }
}

fn record(message: &[u8], kind: u16, data: usize, len: usize) -> Option<Record> {
    let bytes = message.get(data..data.checked_add(len)?)?;
    Some(match kind {
        1 => Record::Address(IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        28 => Record::Address(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        2 => Record::Ns(name(message, data)?.0),
        15 => Record::Mx(name(message, data + 2)?.0),
        _ => Record::Srv(name(message, data + 6)?.0, word(message, data + 4)?),
    })
}

fn word(message: &[u8], at: usize) -> Option<u16> {
    let bytes = message.get(at..at.checked_add(2)?)?;
    bytes.try_into().ok().map(u16::from_be_bytes)
}

/// The name at `at`, with its last dot, and what follows it.
fn name(message: &[u8], mut at: usize) -> Option<(String, usize)> {
    let (mut out, mut end) = (String::new(), None);
    for _ in 0..POINTERS_MAX + 128 {
        let len = usize::from(*message.get(at)?);
        match len {
            0 => {
                if out.is_empty() {
                    out.push('.');
                }
                return Some((out, end.unwrap_or(at + 1)));
            }
            0xc0.. => {
                end.get_or_insert(at + 2);
                at = usize::from(word(message, at)? & 0x3fff);
            }
            1..64 => {
                out.push_str(&String::from_utf8_lossy(message.get(at + 1..at + 1 + len)?));
                out.push('.');
                at += 1 + len;
            }
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use kenning_stdx::files::MemFiles;
    use kenning_stdx::net::TcpNet;

    #[test]
    fn settings_and_names() {
        let settings = Settings::read(
            "# x\nnameserver 10.0.0.1\nnameserver ::1\nnameserver no\nsearch a.b c.\noptions ndots:2 timeout:9 rotate\n",
        );
        assert_eq!(settings.servers, ["10.0.0.1".parse::<IpAddr>().unwrap(), "::1".parse().unwrap()]);
        assert_eq!((settings.ndots, settings.timeout, settings.attempts), (2, Duration::from_secs(9), 2));
        assert_eq!(settings.names("x"), ["x.a.b.", "x.c.", "x."]);
        assert_eq!(settings.names("x.y.z"), ["x.y.z.", "x.y.z.a.b.", "x.y.z.c."]);
        assert_eq!(settings.names("x."), ["x."]);
        assert_eq!(Settings::read("").servers, [IpAddr::from(Ipv4Addr::LOCALHOST)]);
    }

    /// An answer to `question` of records given as type and data; `flags` beside that it is an answer.
    fn answer(question: &[u8], flags: u16, records: &[(u16, Vec<u8>)]) -> Vec<u8> {
        let mut out = question[..2].to_vec();
        out.extend((0x8180 | flags).to_be_bytes());
        out.extend([0, 1]);
        out.extend((records.len() as u16).to_be_bytes());
        out.extend([0; 4]);
        out.extend(&question[12..question.len() - 11]);
        for (kind, data) in records {
            // Every record's name points at the question's.
            out.extend([0xc0, 12]);
            out.extend(kind.to_be_bytes());
            out.extend([0, 1, 0, 0, 0, 60]);
            out.extend((data.len() as u16).to_be_bytes());
            out.extend(data);
        }
        out
    }

    /// `label` below the name that was asked for.
    fn below(label: &str) -> Vec<u8> {
        let mut out = vec![label.len() as u8];
        out.extend(label.as_bytes());
        out.extend([0xc0, 12]);
        out
    }

    /// What the server of the tests says to a question.
    fn served(question: &[u8], over_tcp: bool) -> Vec<u8> {
        let (name, end) = name(question, 12).unwrap();
        let kind = word(question, end).unwrap();
        let srv = |host: &str| [&[0, 1, 0, 2, 0x23, 0x82][..], &below(host)].concat();
        match (name.as_str(), kind) {
            ("web.test.", 1) => {
                answer(question, 0, &[(5, below("alias")), (1, vec![10, 0, 0, 7]), (1, vec![10, 0, 0, 8])])
            }
            ("web.test.", 28) => answer(question, 0, &[(28, [[0; 15].as_slice(), &[1]].concat())]),
            ("_m._tcp.web.test.", 33) => answer(question, 0, &[(33, srv("a")), (33, srv("b"))]),
            ("test.", 15) => answer(question, 0, &[(15, [&[0, 10][..], &below("mail")].concat())]),
            ("test.", 2) => answer(question, 0, &[(2, below("ns"))]),
            ("long.test.", 1) if over_tcp => answer(question, 0, &vec![(1, vec![10, 1, 1, 1]); 300]),
            ("long.test.", 1) => answer(question, 0x0200, &[]),
            ("broken.test.", _) => answer(question, 2, &[]),
            _ => answer(question, 3, &[]),
        }
    }

    /// A server on one port of the loopback, over UDP and TCP.
    async fn serve() -> u16 {
        let tcp = TcpNet.bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = tcp.local_addr().unwrap();
        let udp = UdpPort::bind(address, UDP_BYTES_MAX).await.unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; 512];
            while let Ok((len, from)) = udp.receive(&mut buffer).await {
                // A stranger's answer first: it must be passed over.
                let mut other = served(&buffer[..len], false);
                other[0] ^= 1;
                udp.send(&other, from).await.unwrap();
                udp.send(&served(&buffer[..len], false), from).await.unwrap();
            }
        });
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = tcp.accept().await {
                let mut question = vec![0; usize::from(stream.read_u16().await.unwrap())];
                stream.read_exact(&mut question).await.unwrap();
                let answer = served(&question, true);
                stream.write_all(&(answer.len() as u16).to_be_bytes()).await.unwrap();
                stream.write_all(&answer).await.unwrap();
            }
        });
        address.port()
    }

    #[tokio::test]
    async fn names_are_looked_up_over_udp_and_tcp() {
        let files = MemFiles::default();
        files.put(RESOLV_CONF, "nameserver 127.0.0.1\nsearch test\noptions attempts:1\n");
        let mut resolver =
            Resolver { port: serve().await, ..Resolver::new(Arc::new(TcpNet), Arc::new(files)) };
        let address = |text: &str| Record::Address(text.parse().unwrap());
        let cases = [
            ("web", "A", vec![address("10.0.0.7"), address("10.0.0.8")]),
            ("web.test.", "AAAA", vec![address("::1")]),
            (
                "_m._tcp.web.test",
                "SRV",
                vec![
                    Record::Srv("a._m._tcp.web.test.".into(), 9090),
                    Record::Srv("b._m._tcp.web.test.".into(), 9090),
                ],
            ),
            ("test.", "MX", vec![Record::Mx("mail.test.".into())]),
            ("test.", "NS", vec![Record::Ns("ns.test.".into())]),
            ("long", "A", vec![address("10.1.1.1"); 300]),
            ("nowhere.test", "A", vec![]),
        ];
        for (name, record, expect) in cases {
            assert_eq!(resolver.look_up(name, record).await.unwrap(), expect, "{name} {record}");
        }
        let error = resolver.look_up("broken.test.", "A").await.unwrap_err();
        assert!(error.contains("broken.test.") && error.contains("code 2"), "{error}");
        assert!(resolver.look_up("a..b", "A").await.unwrap_err().contains("not a domain name"));
    }

    #[test]
    fn hostile_answers_end() {
        let question = question(7, "web.test.", 1).unwrap();
        let whole = answer(&question, 0, &[(1, vec![1, 2, 3, 4])]);
        assert_eq!(Answer::read(&whole, 1), Ok(Answer::Records(vec![Record::Address([1, 2, 3, 4].into())])));
        for len in 0..whole.len() {
            assert!(Answer::read(&whole[..len], 1).is_err(), "{len} bytes");
        }
        let mut circle = whole;
        let at = 12;
        circle[at] = 0xc0;
        circle[at + 1] = at as u8;
        assert!(Answer::read(&circle, 1).is_err());
        assert!(Answer::read(&answer(&question, 0, &[(1, vec![1])]), 1).is_err());
    }
}
