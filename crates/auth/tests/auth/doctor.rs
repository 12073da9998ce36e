//! `mcp-auth doctor`, where Traefik would be in the way.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use testkit::raw;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::service::{run, settings};

/// A root, an authority below it, and a certificate for every host of the settings.
struct Certificates {
    root: String,
    middle: CertificateDer<'static>,
    leaf: CertificateDer<'static>,
    key: Vec<u8>,
}

fn authority() -> CertificateParams {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn certificates() -> Certificates {
    let (root_key, middle_key, key) = (
        KeyPair::generate().unwrap(),
        KeyPair::generate().unwrap(),
        KeyPair::generate().unwrap(),
    );
    let mut root_params = authority();
    root_params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "root");
    let root = root_params.self_signed(&root_key).unwrap();
    let root_issuer = Issuer::new(root_params, root_key);
    let mut middle_params = authority();
    middle_params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "middle");
    let middle = middle_params.signed_by(&middle_key, &root_issuer).unwrap();
    let middle_issuer = Issuer::new(middle_params, middle_key);
    let hosts = [
        "auth.localhost",
        "mcp-fetch.localhost",
        "mcp-echo.localhost",
    ];
    let leaf = CertificateParams::new(hosts.map(str::to_owned)).unwrap();
    let leaf = leaf.signed_by(&key, &middle_issuer).unwrap();
    Certificates {
        root: root.pem(),
        middle: middle.der().clone(),
        leaf: leaf.der().clone(),
        key: key.serialize_der(),
    }
}

/// Serves 404 over TLS with this chain; its port.
async fn serve(chain: Vec<CertificateDer<'static>>, key: &[u8]) -> u16 {
    let key = PrivateKeyDer::try_from(key.to_vec()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // Who does not trust the certificate hangs up.
                if let Ok(mut stream) = acceptor.accept(stream).await {
                    let _ = stream.read(&mut [0; 4096]).await;
                    let _ = stream
                        .write_all(raw::answer("404 Not Found", &[]).as_bytes())
                        .await;
                    let _ = stream.shutdown().await;
                }
            });
        }
    });
    port
}

/// Some clients bring no certificates of authorities in the middle, as browsers do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_incomplete_certificate_chain_is_told() {
    let certificates = certificates();
    let (leaf, middle) = (certificates.leaf.clone(), certificates.middle.clone());
    for (chain, is_whole) in [(vec![leaf.clone()], false), (vec![leaf, middle], true)] {
        let port = serve(chain, &certificates.key).await;
        let directory = tempfile::tempdir().unwrap();
        let roots = directory.path().join("roots.pem");
        std::fs::write(&roots, &certificates.root).unwrap();
        let mut settings = settings(&[
            ("PUBLIC_SCHEME", "https"),
            ("PUBLIC_PORT", &port.to_string()),
        ]);
        settings.push(("SSL_CERT_FILE".to_owned(), roots.display().to_string()));
        let place = directory.path().to_owned();
        let output =
            tokio::task::spawn_blocking(move || run(&["doctor"], &settings, &place, "")).await;
        let said = String::from_utf8(output.unwrap().stdout).unwrap();
        let is_complained_of = said.contains("its chain is incomplete");
        assert_eq!(is_complained_of, !is_whole, "{said}");
        assert_eq!(said.contains("answers 404"), is_whole, "{said}");
    }
}
