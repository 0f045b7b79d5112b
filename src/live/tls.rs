//! TLS for SIP (RFC 3261 §26.2, RFC 5922): certificates from files, handshakes both ways, and who is believed.
//!
//! What a peer's certificate has to say is what rustls' webpki checks: a DNS or IP subject alternative name. URI names
//! (`sip:example.com`, RFC 5922 §7.1) it does not know.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use webpki::EndEntityCert;

use super::peers::Owner;
use crate::config::{Certificate, Config};
use crate::model::TrunkName;
use crate::sip::Flow;
use crate::trunk::Sources;

/// A file of `[listen.tls]` or `[trunk.tls]` is of no use: the operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{} holds no {what} in PEM", path.display())]
    Empty { path: PathBuf, what: &'static str },
    /// One block of it; what would be left is not what was meant.
    #[error("{} holds a certificate in PEM that is broken", path.display())]
    Broken { path: PathBuf },
    /// Broken, expired at the root, or a key that belongs to another certificate.
    #[error("{} cannot be used: {source}", path.display())]
    Unusable { path: PathBuf, source: rustls::Error },
    #[error("{} cannot be used to verify peers: {source}", path.display())]
    Verifier {
        path: PathBuf,
        source: rustls::server::VerifierBuilderError,
    },
    /// Without it any certificate of the authorities would do.
    #[error("`{name}` is no name that a certificate can be demanded for")]
    Name { name: Box<str> },
}

/// Why a handshake failed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum HandshakeError {
    /// The operator's: nothing in the config says how to speak TLS with this peer.
    #[error("no certificate is configured for it")]
    NotConfigured,
    /// The peer's, or the network's.
    #[error("TLS handshake: {0}")]
    Failed(Reason),
    /// The peer's: its certificate is a good one, of somebody else.
    #[error("the certificate is not of the name that the trunk demands")]
    WrongName,
}

/// What rustls said of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Reason(Box<str>);

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<std::io::Error> for HandshakeError {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(Reason(error.to_string().into()))
    }
}

/// What holds for one trunk.
#[derive(Debug)]
struct TrunkContext {
    trunk: TrunkName,
    /// Where it listens.
    addresses: Vec<SocketAddr>,
    /// Where it comes from.
    sources: Sources,
    dialled: Option<(Arc<ClientConfig>, Option<ServerName<'static>>)>,
    answered: Option<Arc<ServerConfig>>,
    /// The name that the certificate of the trunk's connections must be for.
    client_name: Option<ServerName<'static>>,
}

/// Everything that a handshake needs, made of one generation of the files.
#[derive(Debug, Default)]
pub(super) struct Contexts {
    answered: Option<Arc<ServerConfig>>,
    trunks: Vec<TrunkContext>,
    files: Files,
}

/// All files as they were read: another generation differs. Among them are keys: shown nowhere.
#[derive(Default, Eq, PartialEq)]
struct Files(Vec<Vec<u8>>);

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} files", self.0.len())
    }
}

impl Contexts {
    /// Reads every file that the config names.
    pub(super) fn load(config: &Config) -> Result<Self, TlsError> {
        let mut loading = Loading {
            provider: Arc::new(aws_lc_rs::default_provider()),
            files: Files::default(),
        };
        let ours = config.listen.tls.as_ref();
        let answered = match ours {
            Some(tls) => Some(loading.answering(&tls.certificate, tls.client_ca.as_deref())?),
            None => None,
        };
        let mut trunks = Vec::new();
        for trunk in &config.trunks {
            let Some(tls) = config
                .deliveries
                .get(&trunk.name)
                .and_then(|delivery| delivery.tls.as_ref())
            else {
                continue;
            };
            let addresses = trunk.peers.iter().map(|peer| peer.address_by(trunk.transport));
            let certificate = tls.certificate.as_ref().or(ours.map(|ours| &ours.certificate));
            let demanded = match &tls.client_name {
                Some(_) => tls.ca.as_deref(),
                None => None,
            };
            let demanded = demanded.or(ours.and_then(|ours| ours.client_ca.as_deref()));
            trunks.push(TrunkContext {
                trunk: trunk.name.clone(),
                addresses: addresses.collect(),
                sources: trunk.senders().collect(),
                dialled: match &tls.ca {
                    Some(ca) => Some((loading.dialling(ca, certificate)?, name(tls.server_name.as_deref())?)),
                    None => None,
                },
                answered: match certificate {
                    Some(certificate) => Some(loading.answering(certificate, demanded)?),
                    None => None,
                },
                client_name: name(tls.client_name.as_deref())?,
            });
        }
        Ok(Self {
            answered,
            trunks,
            files: loading.files,
        })
    }

    /// Whether the files say the same as for `other`.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.files == other.files
    }

    /// What is used for anything at all.
    pub(super) fn is_empty(&self) -> bool {
        self.files.0.is_empty()
    }

    /// As signalling knows senders: who names the address, then whose server DNS says it is, then whose range it lies in.
    /// `is_exact`: of the addresses that a trunk names.
    fn of(
        &self,
        remote: IpAddr,
        owner: Option<&Owner>,
        is_exact: impl Fn(&SocketAddr) -> bool,
    ) -> Option<&TrunkContext> {
        let exact = self.trunks.iter().find(|trunk| trunk.addresses.iter().any(&is_exact));
        exact
            .or_else(|| self.of_owner(owner))
            .or_else(|| self.of_source(remote))
    }

    fn of_source(&self, source: IpAddr) -> Option<&TrunkContext> {
        self.trunks.iter().find(|trunk| trunk.sources.has_host(source))
    }

    fn of_owner(&self, owner: Option<&Owner>) -> Option<&TrunkContext> {
        let owner = owner?;
        self.trunks.iter().find(|context| context.trunk == owner.trunk)
    }
}

/// A checked name of the config. What is no name is an error, never no demand.
fn name(text: Option<&str>) -> Result<Option<ServerName<'static>>, TlsError> {
    let Some(text) = text else { return Ok(None) };
    let name = match text.parse::<IpAddr>() {
        Ok(ip) => Ok(ip.into()),
        Err(_) => ServerName::try_from(text.to_owned()),
    };
    name.map(Some).map_err(|_| TlsError::Name { name: text.into() })
}

struct Loading {
    provider: Arc<CryptoProvider>,
    files: Files,
}

impl Loading {
    fn answering(&mut self, certificate: &Certificate, ca: Option<&Path>) -> Result<Arc<ServerConfig>, TlsError> {
        let builder = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(unusable(&certificate.chain))?;
        let builder = match ca {
            Some(path) => {
                let roots = Arc::new(self.roots(path)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&self.provider)).build();
                builder.with_client_cert_verifier(verifier.map_err(|source| TlsError::Verifier {
                    path: path.to_owned(),
                    source,
                })?)
            }
            None => builder.with_no_client_auth(),
        };
        let (chain, key) = self.identity(certificate)?;
        let config = builder
            .with_single_cert(chain, key)
            .map_err(unusable(&certificate.chain))?;
        Ok(Arc::new(config))
    }

    fn dialling(&mut self, ca: &Path, certificate: Option<&Certificate>) -> Result<Arc<ClientConfig>, TlsError> {
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(unusable(ca))?
            .with_root_certificates(self.roots(ca)?);
        let config = match certificate {
            Some(certificate) => {
                let (chain, key) = self.identity(certificate)?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(unusable(&certificate.chain))?
            }
            None => builder.with_no_client_auth(),
        };
        Ok(Arc::new(config))
    }

    fn identity(
        &mut self,
        certificate: &Certificate,
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
        let chain = self.certificates(&certificate.chain)?;
        let text = self.read(&certificate.key)?;
        let key = PrivateKeyDer::from_pem_slice(&text).map_err(|_| TlsError::Empty {
            path: certificate.key.clone(),
            what: "private key",
        })?;
        Ok((chain, key))
    }

    fn roots(&mut self, path: &Path) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        let (_, broken) = roots.add_parsable_certificates(self.certificates(path)?);
        if roots.is_empty() {
            return Err(TlsError::Empty {
                path: path.to_owned(),
                what: "certificate of an authority",
            });
        }
        if broken > 0 {
            tracing::warn!(path = %path.display(), broken, "authorities that are not understood are left out");
        }
        Ok(roots)
    }

    fn certificates(&mut self, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let text = self.read(path)?;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        let chain = chain.map_err(|_| TlsError::Broken { path: path.to_owned() })?;
        if chain.is_empty() {
            return Err(TlsError::Empty {
                path: path.to_owned(),
                what: "certificate",
            });
        }
        Ok(chain)
    }

    fn read(&mut self, path: &Path) -> Result<Vec<u8>, TlsError> {
        let text = std::fs::read(path).map_err(|source| TlsError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        self.files.0.push(text.clone());
        Ok(text)
    }
}

fn unusable(path: &Path) -> impl FnOnce(rustls::Error) -> TlsError {
    let path = path.to_owned();
    |source| TlsError::Unusable { path, source }
}

/// The handshake on a connection that a peer has opened. `owner`: whose server it is by DNS.
pub(super) async fn answer(
    contexts: &Contexts,
    owner: Option<&Owner>,
    flow: Flow,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>, HandshakeError> {
    let remote = flow.remote.ip();
    let trunk = contexts.of(remote, owner, |at| at.ip().to_canonical() == remote.to_canonical());
    let config = trunk
        .and_then(|trunk| trunk.answered.as_ref())
        .or(contexts.answered.as_ref());
    let config = config.ok_or(HandshakeError::NotConfigured)?;
    let stream = TlsAcceptor::from(Arc::clone(config)).accept(stream).await?;
    if let Some(name) = trunk.and_then(|trunk| trunk.client_name.as_ref()) {
        let theirs = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        if !theirs.is_some_and(|leaf| is_of(leaf, name)) {
            return Err(HandshakeError::WrongName);
        }
    }
    Ok(stream.into())
}

/// Whether a client's certificate is of that very name: a wildcard is no name (RFC 5922 §7.2).
fn is_of(leaf: &CertificateDer<'_>, name: &ServerName<'_>) -> bool {
    let is_valid = ParsedCertificate::try_from(leaf).is_ok_and(|parsed| verify_server_name(&parsed, name).is_ok());
    let ServerName::DnsName(name) = name else {
        return is_valid;
    };
    let is_named = |leaf: EndEntityCert<'_>| {
        let name = name.as_ref().trim_end_matches('.');
        leaf.valid_dns_names().any(|named| named.eq_ignore_ascii_case(name))
    };
    is_valid && EndEntityCert::try_from(leaf).is_ok_and(is_named)
}

/// The handshake on a connection that we have opened: the peer has to prove the trunk's configured name, or else the name that
/// led to it (RFC 5922 §7.3), or its address.
pub(super) async fn dial(
    contexts: &Contexts,
    owner: Option<&Owner>,
    flow: Flow,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>, HandshakeError> {
    let trunk = contexts.of(flow.remote.ip(), owner, |at| *at == flow.remote);
    let (config, name) = trunk
        .and_then(|trunk| trunk.dialled.as_ref())
        .ok_or(HandshakeError::NotConfigured)?;
    let located = || owner.and_then(|owner| ServerName::try_from(owner.name.as_str().to_owned()).ok());
    let name = name.clone().or_else(located);
    let name = name.unwrap_or_else(|| flow.remote.ip().into());
    let stream = TlsConnector::from(Arc::clone(config)).connect(name, stream).await?;
    Ok(stream.into())
}

#[cfg(test)]
pub(super) mod tests;
