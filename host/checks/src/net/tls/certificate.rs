//! Describes a certificate in the words Peekaping's users know: those of Go's `crypto/x509`.

use crate::text::visible;
use jiff::Timestamp;
use lapwing_model::Certificate;
use sha1::{Digest, Sha1};
use sha2::Sha256;
use std::net::{Ipv4Addr, Ipv6Addr};
use x509_parser::{
    der_parser::oid::Oid,
    prelude::{AlgorithmIdentifier, FromDer, GeneralName, X509Certificate, X509Name},
    public_key::PublicKey,
    signature_algorithm::SignatureAlgorithm,
    time::ASN1Time,
};

/// What `der` says; `None` when it cannot be parsed.
pub(super) fn describe(der: &[u8]) -> Option<Certificate> {
    let (_, parsed) = X509Certificate::from_der(der).ok()?;
    let sans = parsed.subject_alternative_name().ok().flatten();
    let sans = || sans.iter().flat_map(|extension| &extension.value.general_names);
    Some(Certificate {
        subject: name(parsed.subject()),
        issuer: name(parsed.issuer()),
        serial: parsed.tbs_certificate.serial.to_string(),
        sha1: fingerprint(&Sha1::digest(der)),
        sha256: fingerprint(&Sha256::digest(der)),
        not_before: time(parsed.validity.not_before),
        not_after: time(parsed.validity.not_after),
        dns_names: sans().filter_map(dns_name).collect(),
        ip_addresses: sans().filter_map(ip_address).collect(),
        signature_algorithm: signature_algorithm(&parsed.signature_algorithm),
        public_key_algorithm: public_key_algorithm(&parsed.public_key().algorithm.algorithm),
        rsa_bits: match parsed.public_key().parsed() {
            Ok(PublicKey::RSA(key)) => u32::try_from(key.key_size()).ok(),
            _ => None,
        },
        version: parsed.version().0 + 1,
    })
}

/// RFC 2253 §2: the last part first, comma without space.
fn name(name: &X509Name<'_>) -> String {
    let mut parts: Vec<String> = name
        .iter_rdn()
        .map(|rdn| {
            let attributes = rdn.iter().map(|attribute| {
                let value = attribute
                    .as_str()
                    .map_or_else(|_| hex(attribute.as_slice()).concat(), escape);
                format!("{}={}", attribute_name(attribute.attr_type()), visible(&value))
            });
            attributes.collect::<Vec<_>>().join("+")
        })
        .collect();
    parts.reverse();
    parts.join(",")
}

fn attribute_name(oid: &Oid<'_>) -> String {
    let oid = oid.to_id_string();
    let known = match oid.as_str() {
        "2.5.4.3" => "CN",
        "2.5.4.5" => "SERIALNUMBER",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "STREET",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "2.5.4.17" => "POSTALCODE",
        "0.9.2342.19200300.100.1.25" => "DC",
        "0.9.2342.19200300.100.1.1" => "UID",
        "1.2.840.113549.1.9.1" => "emailAddress",
        other => other,
    };
    known.to_owned()
}

/// RFC 2253 §2.4.
fn escape(value: &str) -> String {
    let last = value.chars().count().saturating_sub(1);
    let escaped = value.chars().enumerate().flat_map(|(index, c)| {
        let special = matches!(c, ',' | '+' | '"' | '\\' | '<' | '>' | ';')
            || (c == '#' && index == 0)
            || (c == ' ' && (index == 0 || index == last));
        special.then_some('\\').into_iter().chain([c])
    });
    escaped.collect()
}

fn hex(bytes: &[u8]) -> Vec<String> {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

fn fingerprint(digest: &[u8]) -> String {
    hex(digest).join(":")
}

/// The last second of the year 9999, which stands for "never" (RFC 5280 §4.1.2.5), is beyond the last timestamp there is.
fn time(time: ASN1Time) -> Timestamp {
    Timestamp::from_second(time.timestamp()).unwrap_or(Timestamp::MAX)
}

fn dns_name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(dns) => Some(visible(dns)),
        _ => None,
    }
}

fn ip_address(name: &GeneralName<'_>) -> Option<String> {
    let GeneralName::IPAddress(bytes) = name else {
        return None;
    };
    let v4 = <[u8; 4]>::try_from(*bytes).map(|octets| Ipv4Addr::from(octets).to_string());
    v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(|octets| Ipv6Addr::from(octets).to_string()))
        .ok()
}

/// As Go's `SignatureAlgorithm.String` prints it; the object identifier where Go has no name.
fn signature_algorithm(algorithm: &AlgorithmIdentifier<'_>) -> String {
    let oid = algorithm.algorithm.to_id_string();
    let known = match oid.as_str() {
        "1.2.840.113549.1.1.4" => "MD5-RSA",
        "1.2.840.113549.1.1.5" => "SHA1-RSA",
        "1.2.840.113549.1.1.11" => "SHA256-RSA",
        "1.2.840.113549.1.1.12" => "SHA384-RSA",
        "1.2.840.113549.1.1.13" => "SHA512-RSA",
        "1.2.840.10045.4.1" => "ECDSA-SHA1",
        "1.2.840.10045.4.3.2" => "ECDSA-SHA256",
        "1.2.840.10045.4.3.3" => "ECDSA-SHA384",
        "1.2.840.10045.4.3.4" => "ECDSA-SHA512",
        "1.3.101.112" => "Ed25519",
        "1.2.840.113549.1.1.10" => match SignatureAlgorithm::try_from(algorithm) {
            Ok(SignatureAlgorithm::RSASSA_PSS(params)) => {
                match params.hash_algorithm_oid().to_id_string().as_str() {
                    "2.16.840.1.101.3.4.2.1" => "SHA256-RSAPSS",
                    "2.16.840.1.101.3.4.2.2" => "SHA384-RSAPSS",
                    "2.16.840.1.101.3.4.2.3" => "SHA512-RSAPSS",
                    _ => &oid,
                }
            }
            _ => &oid,
        },
        other => other,
    };
    known.to_owned()
}

fn public_key_algorithm(oid: &Oid<'_>) -> String {
    let oid = oid.to_id_string();
    let known = match oid.as_str() {
        "1.2.840.113549.1.1.1" => "RSA",
        "1.2.840.10045.2.1" => "ECDSA",
        "1.3.101.112" => "Ed25519",
        "1.2.840.10040.4.1" => "DSA",
        other => other,
    };
    known.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair};

    #[test]
    fn a_subject_cannot_move_the_readers_cursor() {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "\u{1b}[2J\nfine, really");
        let der = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let subject = describe(der.der()).unwrap().subject;
        assert!(subject.contains(r"CN=\u{1b}[2J\nfine\, really"), "{subject}");
    }

    #[test]
    fn a_certificate_without_an_end_is_described() {
        let mut params = CertificateParams::default();
        params.not_after = rcgen::date_time_ymd(9999, 12, 31) + std::time::Duration::from_secs(86_399);
        let der = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let described = describe(der.der()).unwrap();
        assert!(
            described.not_after.to_string().starts_with("9999-12-30T22:00:00"),
            "{}",
            described.not_after
        );
    }
}
