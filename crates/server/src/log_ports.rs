//! The ports of log shippers: Elasticsearch's bulk, Fluent forward, syslog. Each is off until its address is set, or
//! `kenning serve --drop-in` sets those of the programs replaced.

use std::sync::Arc;

use kenning_model::TenantId;
use kenning_pipeline::Intake;
use kenning_receivers::body::Budget;
use kenning_receivers::elastic::{ELASTIC, ElasticService};
use kenning_receivers::fluent::{FLUENT, FluentLimits, FluentSecurity, FluentService};
use kenning_receivers::push::PushOptions;
use kenning_receivers::serve::{Serving, Stop, Versions, serve, serve_streams};
use kenning_receivers::stats::Stats;
use kenning_receivers::syslog::{SYSLOG_TCP, SYSLOG_TLS, SyslogLimits, SyslogService};
use kenning_receivers::tls::{Tls, TlsFiles, check};
use kenning_stdx::clock::Clock;
use kenning_stdx::files::{Files, RealFiles};
use kenning_stdx::net::udp::{Datagrams, UdpPort};
use kenning_stdx::net::{BoxStream, Listener};
use tokio::task::JoinSet;

use crate::server::{StartError, bind, checked_address};
use crate::settings::Settings;
use crate::settings::whole::Wrong;

/// Kernel buffer asked for Fluent's heartbeats, of which each has a byte.
const HEARTBEAT_BUFFER: usize = 64 * 1024;

/// Where log shippers are listened to.
#[derive(Default)]
pub struct LogPorts {
    elastic: Option<Box<dyn Listener>>,
    fluent: Option<Box<dyn Listener>>,
    heartbeats: Option<Box<dyn Datagrams>>,
    syslog_tcp: Option<Box<dyn Listener>>,
    syslog_tls: Option<Box<dyn Listener>>,
    syslog_udp: Option<Box<dyn Datagrams>>,
}

/// Addresses of the ports that are open.
#[derive(Clone, Debug, Default)]
pub struct LogAddresses {
    /// Elasticsearch's HTTP API.
    pub elastic: Option<String>,
    /// Fluent forward.
    pub fluent: Option<String>,
    /// Syslog over TCP.
    pub syslog_tcp: Option<String>,
    /// Syslog over TLS.
    pub syslog_tls: Option<String>,
    /// Syslog over UDP.
    pub syslog_udp: Option<String>,
}

/// What takes logs from them.
pub struct LogServices {
    elastic: ElasticService,
    fluent: FluentService,
    fluent_tls: Option<Tls>,
    syslog: SyslogService,
    syslog_tls: Option<Tls>,
}

impl LogPorts {
    /// Binds the ports that the settings name.
    pub async fn bind(settings: &Settings) -> Result<Self, StartError> {
        let mut ports = Self {
            elastic: stream("elastic.listen", &settings.elastic_listen).await?,
            fluent: stream("fluent.listen", &settings.fluent_listen).await?,
            syslog_tcp: stream("syslog.tcp_listen", &settings.syslog_tcp_listen).await?,
            syslog_tls: stream("syslog.tls_listen", &settings.syslog_tls_listen).await?,
            ..Self::default()
        };
        if let Some(fluent) = &ports.fluent {
            // Heartbeats go to the port number of the stream, also when that was picked.
            let address = fluent.local_addr().map(|address| address.to_string()).unwrap_or_default();
            ports.heartbeats = Some(datagrams("fluent.listen", &address, HEARTBEAT_BUFFER).await?);
        }
        if !settings.syslog_udp_listen.is_empty() {
            let buffer = settings.syslog_udp_buffer;
            let port = datagrams("syslog.udp_listen", &settings.syslog_udp_listen, buffer).await?;
            ports.syslog_udp = Some(port);
        }
        Ok(ports)
    }

    /// Where the open ones listen.
    pub fn addresses(&self) -> LogAddresses {
        let of = |listener: &Option<Box<dyn Listener>>| {
            listener.as_deref().and_then(|listener| listener.local_addr().ok()).map(|at| at.to_string())
        };
        let udp = self.syslog_udp.as_deref().and_then(|port| port.local_addr().ok());
        LogAddresses {
            elastic: of(&self.elastic),
            fluent: of(&self.fluent),
            syslog_tcp: of(&self.syslog_tcp),
            syslog_tls: of(&self.syslog_tls),
            syslog_udp: udp.map(|at| at.to_string()),
        }
    }

    /// Serves the open ports until `stop`.
    pub fn serve(
        self,
        services: &LogServices,
        serving: impl Fn(&'static str, Versions) -> Serving,
        tasks: &mut JoinSet<()>,
        stop: &Stop,
    ) {
        if let Some(listener) = self.elastic {
            let service = services.elastic.clone();
            tasks.spawn(serve(
                listener,
                serving(ELASTIC, Versions::Both),
                stop.clone(),
                move |request, _| {
                    let service = service.clone();
                    async move { service.serve(request).await }
                },
            ));
        }
        if let Some(listener) = self.fluent {
            let (service, tls) = (services.fluent.clone(), services.fluent_tls.clone());
            let run = move |stream, peer, stop| {
                let (service, tls) = (service.clone(), tls.clone());
                async move {
                    match secured(tls, stream).await {
                        Ok(stream) => service.connection(stream, peer, stop).await,
                        Err(cause) => Some(cause),
                    }
                }
            };
            tasks.spawn(serve_streams(listener, serving(FLUENT, Versions::Both), stop.clone(), run));
        }
        if let Some(port) = self.heartbeats {
            tasks.spawn(services.fluent.clone().heartbeats(port, stop.clone()));
        }
        if let Some(listener) = self.syslog_tcp {
            let service = services.syslog.clone();
            let run = move |stream, peer, stop| service.clone().connection(SYSLOG_TCP, stream, peer, stop);
            tasks.spawn(serve_streams(listener, serving(SYSLOG_TCP, Versions::Both), stop.clone(), run));
        }
        if let Some(listener) = self.syslog_tls {
            let (service, tls) = (services.syslog.clone(), services.syslog_tls.clone());
            let run = move |stream, peer, stop| {
                let (service, tls) = (service.clone(), tls.clone());
                async move {
                    match secured(tls, stream).await {
                        Ok(stream) => service.connection(SYSLOG_TLS, stream, peer, stop).await,
                        Err(cause) => Some(cause),
                    }
                }
            };
            tasks.spawn(serve_streams(listener, serving(SYSLOG_TLS, Versions::Both), stop.clone(), run));
        }
        if let Some(port) = self.syslog_udp {
            tasks.spawn(services.syslog.clone().datagrams(port, stop.clone()));
        }
    }
}

impl LogServices {
    /// Services that offer to `intake`; `options` are those of all pushes.
    pub fn new(
        settings: &Settings,
        intake: &Intake,
        tenant: &TenantId,
        options: &PushOptions,
        stats: &Stats,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, StartError> {
        let start_error = |(key, problem): Wrong| StartError::new(key, problem);
        if let Some(wrong) = lacks_certificate(settings) {
            return Err(start_error(wrong));
        }
        let syslog_tls = tls("syslog.tls", &settings.syslog_tls, clock)?;
        let security = security(settings).map_err(start_error)?;
        // Streams hold their buffers for as long as they are open, so they have a budget of their own.
        let streams = Budget::default();
        let line_bytes = settings.ingest.line_bytes.unwrap_or(usize::MAX);
        let syslog_limits = SyslogLimits {
            message_bytes: SyslogLimits::default().message_bytes.max(line_bytes.min(8 << 20)),
            ..SyslogLimits::default()
        };
        Ok(Self {
            elastic: ElasticService::new(intake.clone(), options.clone(), stats.clone()),
            fluent: FluentService::new(
                intake.clone(),
                tenant.clone(),
                streams.clone(),
                FluentLimits::default(),
                security,
                stats.clone(),
            ),
            fluent_tls: tls("fluent.tls", &settings.fluent_tls, clock)?,
            syslog: SyslogService::new(
                intake.clone(),
                tenant.clone(),
                streams,
                syslog_limits,
                utc_offset(&settings.syslog_utc_offset).map_err(start_error)?,
                stats.clone(),
            ),
            syslog_tls,
        })
    }

    /// What the main port has of Elasticsearch.
    pub fn elastic(&self) -> ElasticService {
        self.elastic.clone()
    }
}

/// The connection as the protocol sees it.
async fn secured(tls: Option<Tls>, stream: BoxStream) -> Result<BoxStream, &'static str> {
    match tls {
        Some(tls) => tls.accept(stream).await,
        None => Ok(stream),
    }
}

fn tls(key: &str, files: &TlsFiles, clock: &Arc<dyn Clock>) -> Result<Option<Tls>, StartError> {
    if files.is_empty() {
        return Ok(None);
    }
    let tls = Tls::new(files.clone(), Arc::new(RealFiles), clock.clone());
    tls.map(Some).map_err(|error| StartError::new(key, error))
}

/// What is wrong with the settings of these ports beside their addresses.
pub(crate) fn wrong(settings: &Settings, files: &dyn Files) -> Vec<Wrong> {
    let mut wrong: Vec<Wrong> = lacks_certificate(settings).into_iter().collect();
    wrong.extend(security(settings).err());
    for (key, paths) in [("fluent.tls", &settings.fluent_tls), ("syslog.tls", &settings.syslog_tls)] {
        wrong.extend(tls_wrong(key, paths, files));
    }
    wrong.extend(utc_offset(&settings.syslog_utc_offset).err());
    wrong
}

fn lacks_certificate(settings: &Settings) -> Option<Wrong> {
    let fix = "TLS needs a certificate; set syslog.tls.cert_file and syslog.tls.key_file";
    let lacks = settings.syslog_tls.is_empty() && !settings.syslog_tls_listen.is_empty();
    lacks.then(|| ("syslog.tls_listen".to_owned(), fix.to_owned()))
}

fn tls_wrong(key: &str, paths: &TlsFiles, files: &dyn Files) -> Option<Wrong> {
    if paths.is_empty() {
        return None;
    }
    let lacking =
        [("cert_file", &paths.cert), ("key_file", &paths.key)].into_iter().find(|(_, path)| path.is_empty());
    if let Some((name, _)) = lacking {
        return Some((format!("{key}.{name}"), "TLS needs a certificate and its key; set both".to_owned()));
    }
    check(paths, files).err().map(|error| (key.to_owned(), error.to_string()))
}

fn security(settings: &Settings) -> Result<FluentSecurity, Wrong> {
    let security = FluentSecurity {
        shared_key: settings.fluent_shared_key.clone(),
        hostname: settings.fluent_hostname.clone(),
        users: users(&settings.fluent_users)?,
    };
    if security.shared_key.is_empty() && !security.users.is_empty() {
        let fix = "users are only asked for in the handshake; set fluent.shared_key too";
        return Err(("fluent.users".to_owned(), fix.to_owned()));
    }
    Ok(security)
}

async fn stream(key: &str, address: &str) -> Result<Option<Box<dyn Listener>>, StartError> {
    match address {
        "" => Ok(None),
        address => bind(key, address).await.map(Some),
    }
}

async fn datagrams(key: &str, address: &str, buffer: usize) -> Result<Box<dyn Datagrams>, StartError> {
    let parsed = checked_address(key, address)?;
    let port = UdpPort::bind(parsed, buffer).await;
    let port =
        port.map_err(|error| StartError::new(format!("cannot receive on {key} = {address}"), error))?;
    Ok(Box::new(port))
}

/// `name:password,name:password`.
fn users(text: &str) -> Result<Vec<(String, String)>, Wrong> {
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    let pair = |pair: &str| match pair.split_once(':') {
        Some((name, password)) if !name.is_empty() => Ok((name.to_owned(), password.to_owned())),
        _ => Err(("fluent.users".to_owned(), "not of the form name:password,name:password".to_owned())),
    };
    pairs.map(pair).collect()
}

/// `+01:00` as seconds.
fn utc_offset(text: &str) -> Result<i32, Wrong> {
    let wrong = || ("syslog.utc_offset".to_owned(), format!("\"{text}\" is not of the form +01:00"));
    let (sign, rest) = match text.split_at_checked(1) {
        Some(("+", rest)) => (1, rest),
        Some(("-", rest)) => (-1, rest),
        _ => return Err(wrong()),
    };
    let (hours, minutes) = rest.split_once(':').ok_or_else(wrong)?;
    let number = |text: &str, limit: i32| {
        let is_two_digits = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<i32>().ok().filter(|n| is_two_digits && *n < limit).ok_or_else(wrong)
    };
    Ok(sign * (number(hours, 24)? * 3600 + number(minutes, 60)? * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_and_users() {
        let check = |text: &str, expect: Option<i32>| assert_eq!(utc_offset(text).ok(), expect, "{text}");
        check("+00:00", Some(0));
        check("-05:30", Some(-19_800));
        for bad in ["", "1", "+1:00", "+01:60", "UTC", "+ 1:00", "+24:00"] {
            check(bad, None);
        }
        let pair = |name: &str, password: &str| (name.to_owned(), password.to_owned());
        assert_eq!(users("a:b, c:d:e").ok(), Some(vec![pair("a", "b"), pair("c", "d:e")]));
        assert_eq!(users("").ok(), Some(vec![]));
        assert!(users("a").is_err());
    }
}
