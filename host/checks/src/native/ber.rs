//! The little of ASN.1's basic encoding rules (X.690) that LDAP's STARTTLS and SNMP need: definite lengths, one-byte tags.

/// Tags of universal types.
pub(super) const INTEGER: u8 = 0x02;
pub(super) const OCTETS: u8 = 0x04;
pub(super) const NULL: u8 = 0x05;
pub(super) const OID: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;

/// `content` behind its tag and length.
pub(super) fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut value = vec![tag];
    if let Ok(short @ 0..0x80) = u8::try_from(content.len()) {
        value.push(short);
    } else {
        let length = content.len().to_be_bytes();
        let long: Vec<u8> = length.iter().skip_while(|byte| **byte == 0).copied().collect();
        value.push(0x80 | u8::try_from(long.len()).unwrap_or_default());
        value.extend(long);
    }
    value.extend(content);
    value
}

/// Several values as the content of one.
pub(super) fn nested(tag: u8, parts: &[Vec<u8>]) -> Vec<u8> {
    value(tag, &parts.concat())
}

/// A whole number, in as few bytes as it needs.
pub(super) fn integer(number: i64) -> Vec<u8> {
    let bytes = number.to_be_bytes();
    // A leading byte that only repeats the sign of the next one is left out.
    let spare = bytes.windows(2).take_while(|pair| {
        matches!(pair, [0, next] if *next < 0x80) || matches!(pair, [0xff, next] if *next >= 0x80)
    });
    value(INTEGER, bytes.get(spare.count()..).unwrap_or_default())
}

/// Reads values one after the other; never past the end, whatever the lengths say.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    /// The next value: its tag and its content.
    pub(super) fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (tag, size, header) = header(self.0)?;
        let content = self.0.get(header..header.checked_add(size)?)?;
        self.0 = self.0.get(header + size..)?;
        Some((tag, content))
    }

    /// The content of the next value, which must have this tag.
    pub(super) fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next()
            .filter(|(found, _)| *found == tag)
            .map(|(_, content)| content)
    }

    /// The next value, a whole number.
    pub(super) fn integer(&mut self) -> Option<i64> {
        self.take(INTEGER).and_then(signed)
    }

    /// Inside the next value.
    pub(super) fn inside(&mut self, tag: u8) -> Option<Self> {
        self.take(tag).map(Reader)
    }
}

/// Tag, length of the content and length of both together, of the value that `bytes` begin with; `None` while that is not
/// known. Lengths of more than four bytes are refused.
pub(super) fn header(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (&[tag, first], rest) = bytes.split_first_chunk::<2>()?;
    // A tag of several bytes, an indefinite length: neither protocol has them.
    if tag & 0x1f == 0x1f || first == 0x80 {
        return None;
    }
    if first < 0x80 {
        return Some((tag, usize::from(first), 2));
    }
    let count = usize::from(first & 0x7f);
    let length = rest.get(..count).filter(|_| count <= 4)?;
    let size = length.iter().fold(0, |size, byte| size << 8 | usize::from(*byte));
    Some((tag, size, 2 + count))
}

/// The whole number of these bytes, the first of which has the sign.
pub(super) fn signed(bytes: &[u8]) -> Option<i64> {
    let (first, _) = bytes.split_first().filter(|_| bytes.len() <= 8)?;
    let sign = if *first >= 0x80 { -1 } else { 0 };
    Some(
        bytes
            .iter()
            .fold(sign, |number, byte| number << 8 | i64::from(*byte)),
    )
}

/// The same of a type that has no negative numbers; a leading zero may make it nine bytes long.
pub(super) fn unsigned(bytes: &[u8]) -> Option<u64> {
    let bytes = bytes
        .strip_prefix(&[0])
        .filter(|rest| !rest.is_empty())
        .unwrap_or(bytes);
    let fits = !bytes.is_empty() && bytes.len() <= 8;
    fits.then(|| {
        bytes
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte))
    })
}

/// Adds one arc of an object identifier: seven bits a byte, all but the last one marked.
pub(super) fn push_arc(bytes: &mut Vec<u8>, arc: u64) {
    for shift in (1..10_u32).rev() {
        if arc >> (7 * shift) > 0 {
            bytes.push(0x80 | low_bits(arc >> (7 * shift)));
        }
    }
    bytes.push(low_bits(arc));
}

fn low_bits(arc: u64) -> u8 {
    u8::try_from(arc & 0x7f).unwrap_or_default()
}

/// An object identifier as people write it, with a leading dot as Go's SNMP library does; `None` when it is broken off.
pub(super) fn dotted(oid: &[u8]) -> Option<String> {
    let mut arcs = Vec::new();
    let mut arc: u64 = 0;
    for byte in oid {
        arc = arc.checked_mul(128)?.checked_add(u64::from(byte & 0x7f))?;
        if *byte < 0x80 {
            arcs.push(std::mem::take(&mut arc));
        }
    }
    let (first, rest) = arcs
        .split_first()
        .filter(|_| oid.last().is_some_and(|last| *last < 0x80))?;
    let root = (*first / 40).min(2);
    let all = [root, first - root * 40].into_iter().chain(rest.iter().copied());
    let words: Vec<String> = all.map(|arc| arc.to_string()).collect();
    Some(format!(".{}", words.join(".")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lengths_are_short_or_long_as_x690_says() {
        assert_eq!(value(OCTETS, b"ab"), [4, 2, b'a', b'b']);
        assert_eq!(value(OCTETS, &[0; 127])[..2], [4, 127]);
        assert_eq!(value(OCTETS, &[0; 200])[..3], [4, 0x81, 200]);
        assert_eq!(value(OCTETS, &[0; 300])[..4], [4, 0x82, 1, 44]);
    }

    #[test]
    fn integers_take_as_few_bytes_as_they_need() {
        for (number, content) in [
            (0, &[0][..]),
            (127, &[127]),
            (128, &[0, 128]),
            (-1, &[255]),
            (-128, &[128]),
            (-129, &[255, 127]),
        ] {
            assert_eq!(integer(number), value(INTEGER, content), "{number}");
        }
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        for bytes in [
            &[4][..],
            &[4, 5, 1],
            &[4, 0x80, 0, 0],
            &[4, 0x84, 0xff, 0xff, 0xff, 0xff, 1],
            &[4, 0x85, 0, 0, 0, 0, 1, 1],
            &[0x1f, 1, 0],
        ] {
            assert!(Reader(bytes).next().is_none(), "{bytes:x?}");
        }
        assert_eq!(signed(&[]), None);
        assert_eq!(signed(&[0; 9]), None);
        assert_eq!(
            unsigned(&[0, 255, 255, 255, 255, 255, 255, 255, 255]),
            Some(u64::MAX)
        );
    }

    #[test]
    fn object_identifiers_are_read_as_written() {
        for (arcs, text) in [
            (&[43, 6, 1, 4, 1, 8072][..], ".1.3.6.1.4.1.8072"),
            (&[80 + 999, 3], ".2.999.3"),
            (&[39], ".0.39"),
            (&[40, u64::from(u32::MAX)], ".1.0.4294967295"),
        ] {
            let mut bytes = Vec::new();
            for arc in arcs {
                push_arc(&mut bytes, *arc);
            }
            assert_eq!(dotted(&bytes).as_deref(), Some(text));
        }
        assert_eq!(dotted(&[43, 0x86]), None, "broken off");
        assert_eq!(dotted(&[0xff; 12]), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(number: i64, bytes: Vec<u8>) {
            let both = [integer(number), value(OCTETS, &bytes)].concat();
            let mut reader = Reader(&both);
            prop_assert_eq!(reader.integer(), Some(number));
            prop_assert_eq!(reader.take(OCTETS), Some(&bytes[..]));
            prop_assert!(reader.next().is_none());
        }

        #[test]
        fn no_bytes_are_too_odd(bytes: Vec<u8>) {
            let mut reader = Reader(&bytes);
            while let Some((_, content)) = reader.next() {
                let _ = (signed(content), unsigned(content), dotted(content));
            }
        }
    }
}
