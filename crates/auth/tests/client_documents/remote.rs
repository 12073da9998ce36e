//! A host on the Internet that does as a test wants, and the network on which it is.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use auth::testing::{ClientDocuments, DocumentError, DocumentPolicy, Network};
use oauth::client_metadata::ClientMetadata;
use oauth::identity::AccessPolicy;
use oauth::rules::{Rules, TokenLifetimes};
use oauth::session::Lifetimes;
use oauth::{ClientId, Clock, ManualClock, Sites, Timestamp};
use reqwest::Certificate;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// The client of most tests.
pub(crate) const CLIENT: &str = "https://client.example/oauth/client.json";
/// An address of the Internet.
pub(crate) const PUBLIC: &str = "93.184.215.14";

/// What a connection gets.
#[derive(Clone)]
pub(crate) enum Reaction {
    /// These bytes.
    Bytes(Vec<u8>),
    /// These, a byte at a time, ten in a second.
    Drip(Vec<u8>),
    /// A body without end, and the number of bytes that were taken.
    Endless(Arc<AtomicUsize>),
    /// TLS, and nothing more.
    Silence,
    /// A connection, and not even TLS.
    NoTls,
}

/// What the host does and has seen.
struct State {
    reaction: Mutex<Reaction>,
    requests: Mutex<Vec<String>>,
    connections: AtomicUsize,
    open: AtomicUsize,
    most_open: AtomicUsize,
    hold: Mutex<Duration>,
}

/// The host.
#[derive(Clone)]
pub(crate) struct Remote {
    state: Arc<State>,
    address: SocketAddr,
    certificate: Certificate,
}

/// An answer with this status, these headers and this body.
pub(crate) fn answer(status: u16, headers: &[&str], body: &str) -> Reaction {
    let mut text = format!(
        "HTTP/1.1 {status} Whatever\r\nContent-Length: {}\r\n",
        body.len()
    );
    for header in headers {
        text.push_str(header);
        text.push_str("\r\n");
    }
    Reaction::Bytes(format!("{text}\r\n{body}").into_bytes())
}

/// The document of [`CLIENT`].
pub(crate) fn document() -> Value {
    json!({
        "client_id": CLIENT, "client_name": "Example", "token_endpoint_auth_method": "none",
        "redirect_uris": ["http://localhost:7777/callback"],
    })
}

/// An answer that is a document, with further headers.
pub(crate) fn json(document: &Value, headers: &[&str]) -> Reaction {
    let headers = [&["Content-Type: application/json"], headers].concat();
    answer(200, &headers, &document.to_string())
}

impl Remote {
    /// A host with the document of [`CLIENT`], with a certificate for it and for the other names of the tests.
    pub(crate) async fn start() -> Self {
        let numbered = (0..30).map(|number| format!("h{number}.example"));
        let named = ["client", "other", "both"].map(|name| format!("{name}.example"));
        Self::start_as(named.into_iter().chain(numbered).collect()).await
    }

    /// The same with a certificate for other names.
    pub(crate) async fn start_as(names: Vec<String>) -> Self {
        let certified = rcgen::generate_simple_self_signed(names).unwrap();
        let key = PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der());
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certified.cert.der().clone()],
                PrivateKeyDer::Pkcs8(key),
            )
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let remote = Self {
            address: listener.local_addr().unwrap(),
            certificate: Certificate::from_der(certified.cert.der()).unwrap(),
            state: Arc::new(State {
                reaction: Mutex::new(json(&document(), &[])),
                requests: Mutex::default(),
                connections: AtomicUsize::new(0),
                open: AtomicUsize::new(0),
                most_open: AtomicUsize::new(0),
                hold: Mutex::default(),
            }),
        };
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let state = Arc::clone(&remote.state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                state.connections.fetch_add(1, Ordering::SeqCst);
                let (state, acceptor) = (Arc::clone(&state), acceptor.clone());
                tokio::spawn(async move {
                    // A connection that breaks is what some of the tests are about.
                    let _ = serve(&state, &acceptor, stream).await;
                });
            }
        });
        remote
    }

    /// From now on it does this.
    pub(crate) fn set(&self, reaction: Reaction) {
        *self.state.reaction.lock().unwrap() = reaction;
    }

    /// From now on each answer takes so long.
    pub(crate) fn hold(&self, time: Duration) {
        *self.state.hold.lock().unwrap() = time;
    }

    /// The requests so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.state.requests.lock().unwrap().clone()
    }

    /// The connections so far, with a request or without.
    pub(crate) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Most requests that were open at once.
    pub(crate) fn most_at_once(&self) -> usize {
        self.state.most_open.load(Ordering::SeqCst)
    }
}

async fn serve(state: &State, acceptor: &TlsAcceptor, stream: TcpStream) -> io::Result<()> {
    let reaction = state.reaction.lock().unwrap().clone();
    if matches!(reaction, Reaction::NoTls) {
        return std::future::pending().await;
    }
    let mut stream = acceptor.accept(stream).await?;
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await?);
    }
    state
        .requests
        .lock()
        .unwrap()
        .push(String::from_utf8_lossy(&request).into_owned());
    let open = state.open.fetch_add(1, Ordering::SeqCst) + 1;
    state.most_open.fetch_max(open, Ordering::SeqCst);
    let hold = *state.hold.lock().unwrap();
    tokio::time::sleep(hold).await;
    let done = react(&mut stream, reaction).await;
    state.open.fetch_sub(1, Ordering::SeqCst);
    done?;
    stream.shutdown().await
}

async fn react(
    stream: &mut tokio_rustls::server::TlsStream<TcpStream>,
    reaction: Reaction,
) -> io::Result<()> {
    match reaction {
        Reaction::Bytes(bytes) => stream.write_all(&bytes).await,
        Reaction::Drip(bytes) => {
            for byte in bytes {
                stream.write_u8(byte).await?;
                stream.flush().await?;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Ok(())
        }
        Reaction::Endless(taken) => {
            let head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
            stream.write_all(head).await?;
            loop {
                let chunk = format!("400\r\n{}\r\n", "x".repeat(0x400));
                stream.write_all(chunk.as_bytes()).await?;
                stream.flush().await?;
                taken.fetch_add(0x400, Ordering::SeqCst);
            }
        }
        Reaction::Silence | Reaction::NoTls => std::future::pending().await,
    }
}

/// A network on which every name leads to the remote host, by an address that the test chooses.
pub(crate) struct TestNetwork {
    remote: SocketAddr,
    anchors: Vec<Certificate>,
    names: Mutex<HashMap<String, VecDeque<Vec<IpAddr>>>>,
    /// The addresses to which a connection was made.
    reached: Mutex<Vec<IpAddr>>,
}

impl TestNetwork {
    /// Every name is at [`PUBLIC`].
    pub(crate) fn new(remote: &Remote) -> Arc<Self> {
        Self::trusting(remote, remote)
    }

    /// The same, trusting the certificate of another host.
    pub(crate) fn trusting(remote: &Remote, trusted: &Remote) -> Arc<Self> {
        Arc::new(Self {
            remote: remote.address,
            anchors: vec![trusted.certificate.clone()],
            names: Mutex::default(),
            reached: Mutex::default(),
        })
    }

    /// A name has these addresses when it is asked for next, and the last ones from then on.
    pub(crate) fn name(&self, name: &str, answers: &[&[&str]]) {
        let answers = answers
            .iter()
            .map(|addresses| addresses.iter().map(|text| text.parse().unwrap()).collect())
            .collect();
        self.names.lock().unwrap().insert(name.to_owned(), answers);
    }

    /// The addresses to which connections were let.
    pub(crate) fn reached(&self) -> Vec<IpAddr> {
        self.reached.lock().unwrap().clone()
    }
}

#[async_trait]
impl Network for TestNetwork {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let mut names = self.names.lock().unwrap();
        let Some(answers) = names.get_mut(host) else {
            return Ok(vec![PUBLIC.parse().unwrap()]);
        };
        let next = match answers.len() {
            0 => None,
            1 => answers.front().cloned(),
            _ => answers.pop_front(),
        };
        next.ok_or_else(|| io::Error::other("no such name"))
    }

    fn endpoint(&self, address: IpAddr) -> SocketAddr {
        self.reached.lock().unwrap().push(address);
        self.remote
    }

    fn trust_anchors(&self) -> Vec<Certificate> {
        self.anchors.clone()
    }
}

/// The rules of a gateway without services.
fn rules() -> Rules {
    let sites = Sites::new("https", "gateway.example", None, []).unwrap();
    let session = Lifetimes {
        idle: 3600,
        absolute: 7200,
        grace: 0,
    };
    let lifetimes = TokenLifetimes {
        access_token: 600,
        session,
    };
    Rules::new(sites, AccessPolicy::new(&["*"], &[], &[]), lifetimes)
}

/// The lookup of documents on a test's network, with a clock that stands still.
pub(crate) struct LookUp {
    pub(crate) documents: Arc<ClientDocuments>,
    rules: Rules,
    pub(crate) clock: Arc<ManualClock>,
}

impl LookUp {
    pub(crate) fn new(network: &Arc<TestNetwork>) -> Self {
        Self::with_policy(network, DocumentPolicy::Any)
    }

    pub(crate) fn with_policy(network: &Arc<TestNetwork>, policy: DocumentPolicy) -> Self {
        let clock = Arc::new(ManualClock::at(
            Timestamp::from_second(1_800_000_000).unwrap(),
        ));
        let documents = ClientDocuments::new(
            policy,
            Arc::clone(network) as Arc<dyn Network>,
            Arc::clone(&clock) as Arc<dyn Clock>,
        )
        .unwrap();
        Self {
            documents: Arc::new(documents),
            rules: rules(),
            clock,
        }
    }

    /// What is known of a client.
    pub(crate) async fn of(&self, id: &str) -> Result<Arc<ClientMetadata>, DocumentError> {
        let id = ClientId::parse(id).unwrap();
        self.documents.look_up(&id, &self.rules).await
    }
}
