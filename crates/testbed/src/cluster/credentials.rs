//! Keys and tokens of one cluster, made afresh for each: nothing here is a secret of anybody.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use crate::rundir::PartDir;
use crate::{Error, Result};

/// A token nobody can guess.
pub(super) fn random_token() -> Result<SecretString> {
    let mut bytes = [0_u8; 24];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Error::Bug("no random numbers".to_owned()))?;
    Ok(SecretString::from(URL_SAFE_NO_PAD.encode(bytes)))
}

/// Writes the key that signs service account tokens, and the token of the administrator.
pub(super) fn write(dir: &PartDir, token: &SecretString) -> Result<()> {
    let key =
        KeyPair::generate(KeySize::Rsa2048).map_err(|_| Error::Bug("no RSA key was made".to_owned()))?;
    let der = key.as_der().map_err(|_| Error::Bug("the RSA key has no encoding".to_owned()))?;
    let mut pem = String::from("-----BEGIN PRIVATE KEY-----\n");
    let encoded = STANDARD.encode(der.as_ref());
    for line in encoded.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem.push_str("-----END PRIVATE KEY-----\n");
    write_private(&dir.file("service-account.pem"), &pem)?;
    let line = format!("{},testbed-admin,testbed-admin,system:masters\n", token.expose_secret());
    write_private(&dir.file("tokens.csv"), &line)
}

/// Writes a kubeconfig (JSON is YAML) for this server.
pub(super) fn write_kubeconfig(
    path: &Path,
    server: &str,
    authority: &[u8],
    token: &SecretString,
) -> Result<()> {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "testbed", "cluster": {
            "server": server,
            "certificate-authority-data": STANDARD.encode(authority),
        }}],
        "users": [{"name": "testbed-admin", "user": {"token": token.expose_secret()}}],
        "contexts": [{"name": "testbed", "context": {"cluster": "testbed", "user": "testbed-admin"}}],
        "current-context": "testbed",
    });
    write_private(path, &format!("{config:#}\n"))
}

fn write_private(path: &Path, text: &str) -> Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(Error::io(format!("write {}", path.display())))
}
