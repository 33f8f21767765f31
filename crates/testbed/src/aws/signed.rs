//! Requests signed with Signature Version 4, for what the testbed itself asks of S3, STS and IAM.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use secrecy::ExposeSecret;

use super::AccessKey;
use crate::{Error, Result};

/// One request, unsigned.
#[derive(Debug)]
pub(super) struct Call {
    service: &'static str,
    method: &'static str,
    url: String,
    content_type: Option<&'static str>,
    body: Vec<u8>,
}

impl Call {
    /// A form of the query protocol that IAM and STS speak.
    pub(super) fn form(endpoint: &str, service: &'static str, version: &str, form: &[(&str, &str)]) -> Self {
        // The emulator verifies the signature of the form as Python would encode it, not of the bytes it got.
        let pair = |(key, value): &(&str, &str)| format!("{key}={}", encode(value).replace("%20", "+"));
        let body: Vec<String> = form.iter().chain([&("Version", version)]).map(pair).collect();
        Self {
            service,
            method: "POST",
            url: format!("{endpoint}/"),
            content_type: Some("application/x-www-form-urlencoded"),
            body: body.join("&").into_bytes(),
        }
    }

    /// A call of IAM.
    pub(super) fn iam(endpoint: &str, form: &[(&str, &str)]) -> Self {
        Self::form(endpoint, "iam", "2010-05-08", form)
    }

    /// A call of S3. `path` is percent-encoded.
    pub(super) fn s3(endpoint: &str, method: &'static str, path: &str, body: Vec<u8>) -> Self {
        Self { service: "s3", method, url: format!("{endpoint}{path}"), content_type: None, body }
    }
}

/// Percent-encodes all but RFC 3986's unreserved characters.
pub(super) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte))
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// Signs with one key.
#[derive(Debug)]
pub(super) struct Signer {
    credentials: Credentials,
    region: &'static str,
}

impl Signer {
    pub(super) fn new(key: &AccessKey, region: &'static str) -> Self {
        let credentials = Credentials::new(&key.id, key.secret.expose_secret(), None, None, "testbed");
        Self { credentials, region }
    }

    /// Sends it, signed; the body of a success.
    pub(super) async fn send(&self, client: &reqwest::Client, call: &Call) -> Result<String> {
        let asked = format!("{} {} ({})", call.method, call.url, call.service);
        let mut request = http::Request::builder().method(call.method).uri(&call.url);
        if let Some(content_type) = call.content_type {
            request = request.header("content-type", content_type);
        }
        let mut request =
            request.body(call.body.clone()).map_err(|error| Error::Bug(format!("{asked}: {error}")))?;
        self.sign(call, &mut request)?;
        let request = reqwest::Request::try_from(request).map_err(Error::http(&asked))?;
        let answer = client.execute(request).await.map_err(Error::http(&asked))?;
        let status = answer.status();
        let text = answer.text().await.map_err(Error::http(&asked))?;
        if status.is_success() {
            return Ok(text);
        }
        Err(Error::Refused {
            asked,
            answer: format!("{status}: {}", text.chars().take(500).collect::<String>()),
        })
    }

    fn sign(&self, call: &Call, request: &mut http::Request<Vec<u8>>) -> Result<()> {
        let bug = |error: String| Error::Bug(format!("signing for {}: {error}", call.service));
        let mut settings = SigningSettings::default();
        if call.service == "s3" {
            settings.percent_encoding_mode = PercentEncodingMode::Single;
            settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        }
        let identity = self.credentials.clone().into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(self.region)
            .name(call.service)
            .time(SystemTime::now())
            .settings(settings)
            .build()
            .map_err(|error| bug(error.to_string()))?
            .into();
        let headers = call.content_type.map(|value| ("content-type", value));
        let signable = SignableRequest::new(
            call.method,
            &call.url,
            headers.into_iter(),
            SignableBody::Bytes(&call.body),
        )
        .map_err(|error| bug(error.to_string()))?;
        let (instructions, _) = sign(signable, &params).map_err(|error| bug(error.to_string()))?.into_parts();
        instructions.apply_to_request_http1x(request);
        Ok(())
    }
}
