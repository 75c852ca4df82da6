//! The version line each side begins with (RFC 4253 §4.2). No I/O.

use crate::wire::Malformed;

/// Longest version line, CR LF included.
pub(crate) const MAX_VERSION: usize = 255;

/// A server's version line: `SSH-2.0-OpenSSH_9.2p1 Debian-2`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version {
    /// The line without CR LF, as the exchange hash wants it.
    pub(crate) line: String,
    protocol: (usize, usize),
    software: (usize, usize),
}

impl Version {
    /// `None` for a line that is not the version yet: a server may send others first.
    pub(crate) fn parse(line: &[u8]) -> Result<Option<Self>, Malformed> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if !line.starts_with(b"SSH-") {
            return Ok(None);
        }
        if line.len() > MAX_VERSION - 2 {
            return Err(Malformed("a version line of more than 255 bytes"));
        }
        let line = std::str::from_utf8(line)
            .ok()
            .filter(|line| line.bytes().all(|byte| matches!(byte, b' '..=b'~')))
            .ok_or(Malformed("a version line that is not printable ASCII"))?;
        let protocol_end = line
            .match_indices('-')
            .nth(1)
            .map(|(end, _)| end)
            .ok_or(Malformed("a version line without software version"))?;
        let software_end = line.find(' ').unwrap_or(line.len());
        if software_end <= protocol_end + 1 {
            return Err(Malformed("a version line without software version"));
        }
        Ok(Some(Self {
            line: line.to_owned(),
            protocol: (4, protocol_end),
            software: (protocol_end + 1, software_end),
        }))
    }

    /// `2.0`; `1.99` of a server that also speaks version 1.
    pub(crate) fn protocol(&self) -> &str {
        self.part(self.protocol)
    }

    /// `OpenSSH_9.2p1`.
    pub(crate) fn software(&self) -> &str {
        self.part(self.software)
    }

    /// What follows the software: `Debian-2`. May be empty.
    pub(crate) fn comments(&self) -> &str {
        self.part((self.software.1, self.line.len())).trim()
    }

    /// Whether the server speaks SSH 2 (§5.1 has 1.99 mean the same).
    pub(crate) fn is_two(&self) -> bool {
        matches!(self.protocol(), "2.0" | "1.99")
    }

    /// Whether the software has at least this version: `9.6p1` and `9.6` compare number by number. `None` when the
    /// software tells no number.
    pub(crate) fn at_least(&self, wanted: &str) -> Option<bool> {
        let own = numbers(self.software());
        (!own.is_empty()).then(|| own >= numbers(wanted))
    }

    fn part(&self, (from, to): (usize, usize)) -> &str {
        self.line.get(from..to).unwrap_or_default()
    }
}

/// The numbers in `text`: 9, 2 and 1 of `OpenSSH_9.2p1`.
fn numbers(text: &str) -> Vec<u64> {
    text.split(|c: char| !c.is_ascii_digit())
        .filter(|digits| !digits.is_empty())
        .map(|digits| digits.parse().unwrap_or(u64::MAX))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(line: &str) -> Version {
        Version::parse(line.as_bytes()).unwrap().unwrap()
    }

    #[test]
    fn a_version_line_has_three_parts() {
        let debian = version("SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u7\r\n");
        assert_eq!(
            (debian.protocol(), debian.software(), debian.comments()),
            ("2.0", "OpenSSH_9.2p1", "Debian-2+deb12u7")
        );
        assert_eq!(debian.line, "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u7");
        let old = version("SSH-1.99-Cisco-1.25\n");
        assert_eq!((old.software(), old.comments()), ("Cisco-1.25", ""));
        assert!(old.is_two());
        assert!(!version("SSH-1.5-x").is_two());
        assert!(!version("SSH-2.1-x").is_two());
    }

    #[test]
    fn other_lines_come_before_it() {
        for line in [
            "",
            "\r\n",
            "Welcome",
            "ssh-2.0-x",
            "HTTP/1.1 400 Bad Request\r\n",
            " SSH-2.0-x",
        ] {
            assert_eq!(Version::parse(line.as_bytes()), Ok(None), "{line:?}");
        }
        assert_eq!(Version::parse(&[0xff, 0xfe]), Ok(None));
    }

    #[test]
    fn hostile_version_lines_are_malformed() {
        let long = format!("SSH-2.0-{}", "x".repeat(245));
        assert!(Version::parse(format!("{long}\r\n").as_bytes()).is_ok());
        assert!(Version::parse(format!("{long}x\r\n").as_bytes()).is_err());
        for line in [
            "SSH-",
            "SSH-2.0",
            "SSH-2.0-",
            "SSH-2.0- comment",
            "SSH-2 0-x",
            "SSH-2.0-\u{1b}[31m",
        ] {
            assert!(Version::parse(line.as_bytes()).is_err(), "{line:?}");
        }
        assert!(Version::parse(b"SSH-2.0-a\0b").is_err());
        assert!(Version::parse(b"SSH-2.0-\xff").is_err());
    }

    #[test]
    fn versions_compare_number_by_number() {
        let at_least = |software: &str, wanted| version(&format!("SSH-2.0-{software}")).at_least(wanted);
        assert_eq!(at_least("OpenSSH_9.2p1", "9.2"), Some(true));
        assert_eq!(at_least("OpenSSH_9.2p1", "9.2p1"), Some(true));
        assert_eq!(at_least("OpenSSH_9.2p1", "9.10"), Some(false));
        assert_eq!(at_least("OpenSSH_10.0", "9.10"), Some(true));
        assert_eq!(at_least("dropbear_2022.83", "2024"), Some(false));
        assert_eq!(at_least("OpenSSH_for_Windows_9.5", "9.2"), Some(true));
        assert_eq!(at_least("99999999999999999999999", "1"), Some(true));
        assert_eq!(at_least("ROSSSH", "1"), None);
    }
}
