//! Files that are of no use, and peers that do not finish a handshake.

#![allow(clippy::panic, clippy::unwrap_used)]

use std::fs;
use std::time::Duration;

use proptest::prelude::*;
use rcgen::{CertificateParams, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use super::*;
use crate::config::certified::certified_name;
use crate::config::{Delivery, ListenTls, TrunkTls};
use crate::live::sip_connection::{Ending, Line, Refusal};
use crate::live::sip_dial::{self, Opening};
use crate::live::sip_sockets::Shared;
use crate::live::sip_streams::StreamLimits;
use crate::sip::Transport;
use crate::trunk::{DomainName, Network, Peer, Trunk};

/// Who vouches for the servers of one test.
pub struct Authority(rcgen::CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        Self(rcgen::CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Of a client that believes the certificate in `chain.pem`, whoever made it.
    pub fn connector(chain: &Path) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(chain).unwrap() {
            roots.add(certificate.unwrap()).unwrap();
        }
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        TlsConnector::from(Arc::new(config))
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Of a server that shows a certificate for `name`.
    pub fn acceptor(&self, name: &str) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// A config with a certificate of its own making in `folder`.
pub fn config(folder: &Path) -> Config {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["sbc.example.com".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    fs::write(folder.join("chain.pem"), certificate.pem()).unwrap();
    fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
    let mut config = Config::embedded();
    config.listen.tls = Some(ListenTls {
        certificate: Certificate {
            chain: folder.join("chain.pem"),
            key: folder.join("key.pem"),
        },
        client_ca: None,
    });
    config
}

#[test]
fn a_file_that_is_of_no_use_is_named_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let first = Contexts::load(&config).unwrap();
    assert!(Contexts::load(&config).unwrap().is_same(&first));
    let (chain, key) = (folder.path().join("chain.pem"), folder.path().join("key.pem"));
    let (good_chain, good_key) = (fs::read(&chain).unwrap(), fs::read(&key).unwrap());

    fs::write(&chain, "not PEM").unwrap();
    assert!(matches!(Contexts::load(&config), Err(TlsError::Empty { path, .. }) if path == chain));
    let mut half_broken = good_chain.clone();
    half_broken.extend(b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n");
    fs::write(&chain, &half_broken).unwrap();
    assert!(matches!(Contexts::load(&config), Err(TlsError::Broken { path }) if path == chain));
    fs::write(&chain, &good_chain).unwrap();
    fs::write(&key, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    assert!(
        matches!(Contexts::load(&config), Err(TlsError::Unusable { .. })),
        "the key of another certificate"
    );
    fs::remove_file(&key).unwrap();
    assert!(matches!(Contexts::load(&config), Err(TlsError::Unreadable { path, .. }) if path == key));
    fs::write(&key, &good_key).unwrap();
    assert!(Contexts::load(&config).unwrap().is_same(&first));
    assert!(!format!("{first:?}").contains("PRIVATE"), "keys are shown nowhere");
}

#[test]
fn a_trunk_without_authorities_is_not_connected_to() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path());
    let tls = TrunkTls {
        server_name: None,
        ca: None,
        certificate: None,
        client_name: None,
    };
    let delivery = Delivery { tls: Some(tls) };
    config.deliveries.insert("carrier".into(), delivery);
    let contexts = Contexts::load(&config).unwrap();
    assert!(contexts.trunks[0].dialled.is_none() && contexts.trunks[0].answered.is_some());
}

#[test]
fn a_server_that_dns_names_is_its_trunks_though_it_lies_in_anothers_range() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path());
    let at = |text: &str| -> IpAddr { text.parse().unwrap() };
    let peer = |text: &str| Peer {
        ip: at(text),
        port: None,
    };
    let range = Trunk {
        networks: vec![Network::parse("192.0.2.0/24").unwrap()],
        ..Trunk::new("office".into(), vec![])
    };
    let named = Trunk::new("carrier".into(), vec![]);
    let literal = Trunk::new("pbx".into(), vec![peer("192.0.2.9")]);
    config.trunks = vec![range, named, literal];
    for trunk in ["office", "carrier", "pbx"] {
        let tls = TrunkTls {
            server_name: None,
            ca: None,
            certificate: None,
            client_name: None,
        };
        config.deliveries.insert(trunk.into(), Delivery { tls: Some(tls) });
    }
    let contexts = Contexts::load(&config).unwrap();
    let owner = Owner {
        trunk: "carrier".into(),
        name: DomainName::parse("sip.example.com").unwrap(),
    };
    let found = |ip: &str, owner: Option<&Owner>| {
        let trunk = contexts.of(at(ip), owner, |exact| exact.ip() == at(ip));
        trunk.unwrap().trunk.to_string()
    };
    assert_eq!(found("192.0.2.7", Some(&owner)), "carrier");
    assert_eq!(found("192.0.2.7", None), "office");
    assert_eq!(found("192.0.2.9", Some(&owner)), "pbx", "an address before a name");
}

#[test]
fn a_name_that_cannot_be_demanded_is_an_error_and_never_no_demand() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path());
    let refused = Some("pbx..example.com".to_owned());
    let ca = Some(folder.path().join("chain.pem"));
    for (server_name, client_name) in [(refused.clone(), None), (None, refused)] {
        let tls = TrunkTls {
            server_name,
            ca: ca.clone(),
            certificate: None,
            client_name,
        };
        let delivery = Delivery { tls: Some(tls) };
        config.deliveries.insert("carrier".into(), delivery);
        assert!(matches!(Contexts::load(&config), Err(TlsError::Name { .. })));
    }
}

#[test]
fn a_client_has_a_certificate_of_its_very_name() {
    let key = KeyPair::generate().unwrap();
    let is_shown_by = |names: &[&str], demanded: &str| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        is_of(certificate.der(), &name(Some(demanded)).unwrap().unwrap())
    };
    assert!(is_shown_by(&["pbx.example.com"], "PBX.example.com"));
    assert!(is_shown_by(&["*.example.com", "pbx.example.com"], "pbx.example.com"));
    assert!(is_shown_by(&["192.0.2.1"], "192.0.2.1"));
    for names in [
        &["*.example.com"][..],
        &["example.com", "*.example.com"],
        &["other.example.com"],
        &[],
    ] {
        assert!(!is_shown_by(names, "pbx.example.com"), "{names:?}");
    }
    assert!(!is_shown_by(&["192.0.2.1"], "192.0.2.2"));
}

proptest! {
    #[test]
    fn every_name_that_the_config_takes_can_be_demanded(
        text in "[\\[\\]a-fxX0-9:._-]{0,30}|([a-z0-9_-]{0,64}[.]){0,5}[a-zA-Z0-9]{0,5}|\\PC{0,20}"
    ) {
        if let Some(taken) = certified_name(&text) {
            prop_assert!(matches!(name(Some(&taken)), Ok(Some(_))), "{}", taken);
        }
    }
}

/// A line of which the peer has `peer`, the accepting side the rest.
async fn accepted(contexts: Contexts, limits: StreamLimits) -> (TcpStream, Line, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let local = listener.local_addr().unwrap();
    let peer = TcpStream::connect(local).await.unwrap();
    let (stream, remote) = listener.accept().await.unwrap();
    let mut shared = Shared::bare(mpsc::channel(8).0);
    shared.tls = watch::channel(Arc::new(contexts)).1;
    let line = Line {
        flow: Flow {
            transport: Transport::Tls,
            local,
            remote,
        },
        number: 1,
        limits,
        shared,
        calls: mpsc::channel(8).0,
    };
    (peer, line, stream)
}

#[tokio::test]
async fn a_handshake_that_stops_half_way_is_given_up_and_one_that_is_none_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let limits = StreamLimits {
        handshake_time_max: Duration::from_millis(50),
        ..StreamLimits::default()
    };
    // The header of a record of 512 bytes that does not come.
    for (begun, wanted) in [
        (&b"\x16\x03\x01\x02\x00\x01"[..], true),
        (b"OPTIONS sip:a SIP/2.0\r\n", false),
    ] {
        let (mut peer, line, stream) = accepted(Contexts::load(&config).unwrap(), limits).await;
        peer.write_all(begun).await.unwrap();
        let ending = sip_dial::serve(&line, Opening::Answer(stream), mpsc::channel(1).1).await;
        match ending {
            Ending::Refused(Refusal::SlowHandshake) => assert!(wanted),
            Ending::Refused(Refusal::Tls(HandshakeError::Failed(_))) => assert!(!wanted),
            other => panic!("{other:?}"),
        }
        let mut rest = Vec::new();
        // An alert, or nothing; then the end, perhaps by a reset.
        let _read = peer.read_to_end(&mut rest).await;
        assert!(rest.len() < 64, "{rest:?}");
    }
}

#[tokio::test]
async fn without_a_certificate_nobody_is_answered() {
    let (_peer, line, stream) = accepted(Contexts::default(), StreamLimits::default()).await;
    let ending = sip_dial::serve(&line, Opening::Answer(stream), mpsc::channel(1).1).await;
    assert_eq!(ending, Ending::Refused(Refusal::Tls(HandshakeError::NotConfigured)));
}
