//! As much of BER (X.690) as LDAP uses: one-byte tags and definite lengths (RFC 4511 §5.1). No I/O.
//!
//! Reading keeps to slices of what was received: a length that lies is an error, never an allocation, and nothing here
//! calls itself, so that nesting costs nothing.

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const OCTETS: u8 = 0x04;
pub(crate) const ENUMERATED: u8 = 0x0a;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;

/// What was received is no BER, or not the BER that was to come; the text says which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

/// Tag, length and `content`.
pub(crate) fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match u8::try_from(content.len()) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            let bytes = content.len().to_be_bytes();
            let digits: Vec<u8> = bytes.into_iter().skip_while(|&byte| byte == 0).collect();
            out.push(0x80 | u8::try_from(digits.len()).unwrap_or(0));
            out.extend(digits);
        }
    }
    out.extend_from_slice(content);
    out
}

/// An element made of other elements.
pub(crate) fn nest(tag: u8, parts: &[Vec<u8>]) -> Vec<u8> {
    element(tag, &parts.concat())
}

/// An INTEGER or ENUMERATED of a number from 0.
pub(crate) fn number(tag: u8, value: u32) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    let digits: Vec<u8> = bytes.into_iter().skip_while(|&byte| byte == 0).collect();
    // A leading bit that is set would be a sign.
    let sign = digits.first().is_none_or(|&first| first >= 0x80);
    element(tag, &[vec![0; usize::from(sign)], digits].concat())
}

/// How long the element is that `bytes` begin with: `None` when more of it must come to tell.
pub(crate) fn measure(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
    Ok(header(bytes)?.map(|(start, length)| start + length))
}

/// Where the content of the first element begins, and its length.
fn header(bytes: &[u8]) -> Result<Option<(usize, usize)>, Malformed> {
    let [tag, first, rest @ ..] = bytes else {
        return Ok(None);
    };
    if tag & 0x1f == 0x1f {
        return Err(Malformed("a tag of several bytes"));
    }
    match *first {
        short @ 0..0x80 => Ok(Some((2, short.into()))),
        0x80 => Err(Malformed("an indefinite length")),
        // Four bytes of length are 4 GiB; leading zeros are allowed in BER.
        long @ 0x81..=0x84 => {
            let digits = usize::from(long & 0x7f);
            let Some(digits) = rest.get(..digits) else {
                return Ok(None);
            };
            let length = digits
                .iter()
                .fold(0_u64, |sum, &digit| sum << 8 | u64::from(digit));
            let length = usize::try_from(length).ok().filter(|&length| length < 1 << 31);
            let length = length.ok_or(Malformed("a length past all bounds"))?;
            Ok(Some((2 + digits.len(), length)))
        }
        _ => Err(Malformed("a length past all bounds")),
    }
}

/// Reads one element after the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The tag of the element to come.
    pub(crate) fn peek(self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The next element: its tag and its content.
    pub(crate) fn any(&mut self) -> Result<(u8, &'a [u8]), Malformed> {
        const SHORT: Malformed = Malformed("an element that ends too early");
        let tag = self.peek().ok_or(SHORT)?;
        let (start, length) = header(self.0)?.ok_or(SHORT)?;
        let (element, rest) = self.0.split_at_checked(start + length).ok_or(SHORT)?;
        self.0 = rest;
        Ok((tag, element.get(start..).unwrap_or_default()))
    }

    /// The content of the next element, which must have this tag.
    pub(crate) fn expect(&mut self, tag: u8) -> Result<&'a [u8], Malformed> {
        match self.any()? {
            (found, content) if found == tag => Ok(content),
            _ => Err(Malformed("an element of another kind than expected")),
        }
    }

    /// The next element as a number from 0; LDAP's are of 32 bits without a sign.
    pub(crate) fn number(&mut self, tag: u8) -> Result<u32, Malformed> {
        let content = self.expect(tag)?;
        match content {
            [first, ..] if *first < 0x80 && content.len() <= 5 => {
                let value = content
                    .iter()
                    .fold(0_u64, |sum, &digit| sum << 8 | u64::from(digit));
                u32::try_from(value).map_err(|_| Malformed("a number that is too large"))
            }
            _ => Err(Malformed("a number out of range")),
        }
    }

    /// The next OCTET STRING as text; bytes that are not UTF-8 are replaced by U+FFFD.
    pub(crate) fn text(&mut self) -> Result<String, Malformed> {
        Ok(String::from_utf8_lossy(self.expect(OCTETS)?).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_take_the_shortest_form() {
        assert_eq!(element(OCTETS, b"ab"), b"\x04\x02ab");
        assert_eq!(element(OCTETS, &[7; 127])[..2], [4, 0x7f]);
        assert_eq!(element(OCTETS, &[7; 128])[..3], [4, 0x81, 0x80]);
        assert_eq!(element(OCTETS, &[7; 300])[..4], [4, 0x82, 0x01, 0x2c]);
    }

    #[test]
    fn numbers_keep_their_sign_bit_clear() {
        assert_eq!(number(INTEGER, 0), [2, 1, 0]);
        assert_eq!(number(INTEGER, 127), [2, 1, 127]);
        assert_eq!(number(INTEGER, 128), [2, 2, 0, 128]);
        assert_eq!(number(INTEGER, 0x0102_0304), [2, 4, 1, 2, 3, 4]);
        for value in [0, 1, 127, 128, 255, 256, 65_535, u32::MAX] {
            assert_eq!(Reader(&number(INTEGER, value)).number(INTEGER), Ok(value));
        }
    }

    #[test]
    fn a_partial_element_asks_for_more() {
        let whole = element(SEQUENCE, &[0; 300]);
        for cut in 0..4 {
            assert_eq!(measure(&whole[..cut]), Ok(None), "{cut}");
        }
        assert_eq!(measure(&whole[..4]), Ok(Some(304)));
        assert_eq!(
            measure(b"\x30\x84\x00\x00\x00\x05"),
            Ok(Some(11)),
            "as Active Directory writes it"
        );
    }

    #[test]
    fn hostile_lengths_are_errors() {
        for bytes in [
            &b"\x30\x80\x00\x00"[..],
            b"\x30\x85\x00\x00\x00\x00\x01",
            b"\x30\x84\xff\xff\xff\xff",
            b"\x30\xff",
            b"\x1f\x01\x00",
        ] {
            assert!(measure(bytes).is_err(), "{bytes:x?}");
        }
        assert!(Reader(b"\x04\x05ab").any().is_err());
        assert!(Reader(b"\x04").any().is_err());
        assert!(Reader(b"").any().is_err());
        assert!(Reader(b"\x02\x00").number(INTEGER).is_err(), "no digits");
        assert!(Reader(b"\x02\x01\xff").number(INTEGER).is_err(), "negative");
        assert!(
            Reader(b"\x02\x05\x01\x00\x00\x00\x00").number(INTEGER).is_err(),
            "33 bits"
        );
        assert!(Reader(b"\x0a\x01\x00").number(INTEGER).is_err(), "another tag");
    }
}
