//! What single values cannot tell: whether addresses may be listened on, whether files that are named can be used, whether
//! settings go with each other. Nothing is opened for good but databases of addresses, which stages share.

use kenning_model::TenantId;
use kenning_stdx::bytesize::ByteSize;
use kenning_stdx::files::Files;

use super::{Layer, Mistake, Settings};
use crate::log_ports;
use crate::memory::Shares;
use crate::server::parsed_address;

/// A setting and what is wrong with it.
pub(crate) type Wrong = (String, String);

/// Everything that is wrong with settings whose values are well-formed one by one.
pub(super) fn mistakes(settings: &Settings, layers: &[Layer], files: &dyn Files) -> Vec<Mistake> {
    let mut wrong = addresses(settings);
    if let Err(error) = TenantId::parse(&settings.tenant) {
        wrong.push(("tenant".to_owned(), format!("\"{}\" cannot be a tenant: {error}", settings.tenant)));
    }
    wrong.extend(log_ports::wrong(settings, files));
    wrong.extend(geo_database(settings, files).map(|problem| ("geoip.database".to_owned(), problem)));
    let told = |(key, problem): Wrong| Mistake { origin: origin(layers, &key), key, problem };
    wrong.into_iter().map(told).collect()
}

/// The last layer that says something of a setting, or of its group.
fn origin(layers: &[Layer], key: &str) -> String {
    let group = key.rsplit_once('.').map_or(key, |(group, _)| group);
    let last = |prefix: &str| {
        layers.iter().rfind(|layer| layer.values().iter().any(|(known, _)| known.starts_with(prefix)))
    };
    last(key).or_else(|| last(group)).map_or("defaults", |layer| layer.origin()).to_owned()
}

fn addresses(settings: &Settings) -> Vec<Wrong> {
    let of_ports = [
        ("otlp.grpc_listen", &settings.otlp_grpc_listen),
        ("otlp.http_listen", &settings.otlp_http_listen),
        ("elastic.listen", &settings.elastic_listen),
        ("fluent.listen", &settings.fluent_listen),
        ("syslog.tcp_listen", &settings.syslog_tcp_listen),
        ("syslog.tls_listen", &settings.syslog_tls_listen),
        ("syslog.udp_listen", &settings.syslog_udp_listen),
    ];
    // The main port cannot be switched off.
    let open = of_ports.into_iter().filter(|(_, address)| !address.is_empty());
    let all = std::iter::once(("listen", &settings.listen)).chain(open);
    let wrong = |(key, address): (&str, &String)| {
        let problem = parsed_address(address).err()?;
        Some((key.to_owned(), format!("\"{address}\": {problem}")))
    };
    all.filter_map(wrong).collect()
}

/// Opens `geoip.database`; tells when it cannot be used, or when all such files are too large together.
fn geo_database(settings: &Settings, files: &dyn Files) -> Option<String> {
    let path = &settings.geoip_database;
    if let Some(Err(error)) = (!path.is_empty()).then(|| settings.geo_databases.open(path, files)) {
        return Some(format!("{path}: {error}"));
    }
    let (needed, most) = (settings.geo_databases.bytes_max(), Shares::geo_max(settings));
    (needed > most).then(|| {
        format!(
            "the files that tell where addresses are need {} while one of them is read anew, and may have {}, a \
             quarter of limits.memory; use smaller ones or set limits.memory to {}",
            ByteSize(needed as u64),
            ByteSize(most as u64),
            ByteSize((needed as u64 * 4).next_multiple_of(1 << 20)),
        )
    })
}

#[cfg(test)]
mod tests {
    use kenning_stdx::files::MemFiles;

    use super::*;

    fn check(yaml: &str, expect: &[&str]) {
        let files = MemFiles::default();
        files.put("/text", "hello");
        let layers =
            Layer::from_yaml("kenning.yaml", yaml).map(|layer| [layer, Layer::named("command line")]);
        let told = layers.and_then(|layers| Settings::from_layers_and_files(&layers, &files)).err();
        let told: Vec<String> = told
            .iter()
            .flat_map(|told| &told.0)
            .map(|one| format!("{}: {}: {}", one.origin, one.key, one.problem))
            .collect();
        let is_told =
            told.len() == expect.len() && told.iter().zip(expect).all(|(told, part)| told.contains(part));
        assert!(is_told, "{yaml}: {told:#?}");
    }

    #[test]
    fn settings_that_do_not_go_together_are_told_with_all_others() {
        check("listen: 127.0.0.1:0\nfluent: {listen: 127.0.0.1:0}\n", &[]);
        check(
            "listen: here\notlp: {grpc_listen: 0.0.0.0:4317}\nlimits: {ingest: {past: soon}}\n",
            &[
                "kenning.yaml: limits.ingest.past: ",
                "kenning.yaml: listen: \"here\": not of the form 127.0.0.1:7070",
                "kenning.yaml: otlp.grpc_listen: \"0.0.0.0:4317\": an address off the loopback needs TLS",
            ],
        );
        check("tenant: a/b\n", &["kenning.yaml: tenant: \"a/b\" cannot be a tenant"]);
        check(
            "syslog: {tls_listen: 127.0.0.1:0, utc_offset: noon}\nfluent: {users: 'a:b', tls: {cert_file: /text}}\n",
            &[
                "kenning.yaml: syslog.tls_listen: TLS needs a certificate; set syslog.tls.cert_file",
                "kenning.yaml: fluent.users: users are only asked for in the handshake; set fluent.shared_key",
                "kenning.yaml: fluent.tls.key_file: TLS needs a certificate and its key; set both",
                "kenning.yaml: syslog.utc_offset: ",
            ],
        );
        check(
            "syslog: {tls_listen: 127.0.0.1:0, tls: {cert_file: /none, key_file: /text}}\n",
            &["kenning.yaml: syslog.tls: /none: "],
        );
    }

    #[test]
    fn a_geoip_file_that_cannot_be_used_is_one_mistake_of_all() {
        check("geoip: {database: ''}\n", &[]);
        check(
            "geoip: {database: /none/city.mmdb}\nlimits: {ingest: {past: soon}}\n",
            &["limits.ingest.past: ", "kenning.yaml: geoip.database: /none/city.mmdb: cannot be read: "],
        );
        check("geoip: {database: /text}\n", &["geoip.database: /text: it is no MaxMind database"]);
    }
}
