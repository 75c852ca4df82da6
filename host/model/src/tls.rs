//! What a TLS session showed of the peer.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

/// One certificate of the chain a peer presented.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Certificate {
    /// Most specific part first, comma without space: `CN=localhost,O=Probe Org,C=DE`.
    pub subject: String,
    /// As `subject`.
    pub issuer: String,
    /// Serial number in decimal.
    pub serial: String,
    /// SHA-1 of the DER, upper-case hex pairs joined by `:` (an identifier, not a proof).
    pub sha1: String,
    /// SHA-256 of the DER, spelled as `sha1`.
    pub sha256: String,
    /// Not valid before.
    pub not_before: Timestamp,
    /// Not valid after.
    pub not_after: Timestamp,
    /// Subject alternative names: DNS names.
    pub dns_names: Vec<String>,
    /// Subject alternative names: IP addresses.
    pub ip_addresses: Vec<String>,
    /// `SHA256-RSA`, `ECDSA-SHA256`, `Ed25519`, …; the object identifier when unnamed.
    pub signature_algorithm: String,
    /// `RSA`, `ECDSA`, `Ed25519`, …
    pub public_key_algorithm: String,
    /// Size of an RSA key in bits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rsa_bits: Option<u32>,
    /// X.509 version: 3 for nearly all.
    pub version: u32,
}

/// A TLS session with a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TlsInfo {
    /// `TLSv1.2` or `TLSv1.3`; empty when the handshake failed before one was chosen.
    pub protocol: String,
    /// The suite's IANA name; empty as `protocol`.
    pub cipher: String,
    /// The application protocol the peer chose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alpn: Option<String>,
    /// The name asked for and checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Whether the chain was accepted for that name by the roots in force.
    pub verified: bool,
    /// Why not, when not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify_error: Option<String>,
    /// Leaf first, as presented.
    pub chain: Vec<Certificate>,
}

impl TlsInfo {
    /// Whole days from `now` until the leaf certificate ends, less than none when it has.
    pub fn days_left(&self, now: Timestamp) -> Option<i64> {
        let leaf = self.chain.first()?;
        Some(leaf.not_after.duration_since(now).as_hours() / 24)
    }
}
