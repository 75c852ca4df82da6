//! Search filters: from their text (RFC 4515) to BER (RFC 4511 §4.5.1.7). No I/O.

use crate::ber::{OCTETS, SEQUENCE, element};

/// Deepest nesting: more than anybody writes, less than a stack holds.
const MAX_DEPTH: usize = 32;

const AND: u8 = 0xa0;
const OR: u8 = 0xa1;
const NOT: u8 = 0xa2;
const EQUALITY: u8 = 0xa3;
const SUBSTRINGS: u8 = 0xa4;
const GREATER_OR_EQUAL: u8 = 0xa5;
const LESS_OR_EQUAL: u8 = 0xa6;
const PRESENT: u8 = 0x87;
const APPROXIMATE: u8 = 0xa8;
const EXTENSIBLE: u8 = 0xa9;

/// The BER of a filter, or what is wrong with its text.
pub(crate) fn parse(text: &str) -> Result<Vec<u8>, String> {
    let mut parser = Parser { rest: text };
    let filter = parser.filter(0)?;
    if parser.rest.is_empty() {
        Ok(filter)
    } else {
        Err(format!("`{}` follows the end of the filter", parser.rest))
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    /// `( … )`
    fn filter(&mut self, depth: usize) -> Result<Vec<u8>, String> {
        if depth == MAX_DEPTH {
            return Err(format!("nested deeper than {MAX_DEPTH} levels"));
        }
        self.take('(')?;
        let tag = match self.rest.chars().next() {
            Some('&') => AND,
            Some('|') => OR,
            Some('!') => NOT,
            _ => {
                let item = self.item()?;
                self.take(')')?;
                return Ok(item);
            }
        };
        self.rest = self.rest.get(1..).unwrap_or_default();
        let mut parts = Vec::new();
        if tag == NOT {
            parts.extend(self.filter(depth + 1)?);
        } else {
            // None is allowed: (&) is true and (|) is false (RFC 4526).
            while self.rest.starts_with('(') {
                parts.extend(self.filter(depth + 1)?);
            }
        }
        self.take(')')?;
        Ok(element(tag, &parts))
    }

    fn take(&mut self, wanted: char) -> Result<(), String> {
        match self.rest.strip_prefix(wanted) {
            Some(rest) => self.rest = rest,
            None if self.rest.is_empty() => return Err(format!("`{wanted}` is missing at the end")),
            None => return Err(format!("`{wanted}` is missing before `{}`", self.rest)),
        }
        Ok(())
    }

    /// `attribute=value` and its like, up to the closing parenthesis, which a value may only hold as `\29`.
    fn item(&mut self) -> Result<Vec<u8>, String> {
        let end = self.rest.find(['(', ')']).unwrap_or(self.rest.len());
        let (item, rest) = self.rest.split_at(end);
        self.rest = rest;
        let (left, value) = item
            .split_once('=')
            .ok_or_else(|| format!("`{item}` has no `=`"))?;
        let (tag, attribute) = match left.char_indices().next_back() {
            Some((at, '~')) => (APPROXIMATE, left.split_at(at).0),
            Some((at, '>')) => (GREATER_OR_EQUAL, left.split_at(at).0),
            Some((at, '<')) => (LESS_OR_EQUAL, left.split_at(at).0),
            Some((at, ':')) => return extensible(left.split_at(at).0, value),
            _ => (EQUALITY, left),
        };
        described(attribute)?;
        if tag == EQUALITY && value == "*" {
            return Ok(element(PRESENT, attribute.as_bytes()));
        }
        if tag == EQUALITY && value.contains('*') {
            let parts = [element(OCTETS, attribute.as_bytes()), substrings(value)?];
            return Ok(element(SUBSTRINGS, &parts.concat()));
        }
        let parts = [
            element(OCTETS, attribute.as_bytes()),
            element(OCTETS, &unescape(value)?),
        ];
        Ok(element(tag, &parts.concat()))
    }
}

/// An attribute description: name or OID with options (RFC 4512 §2.5).
fn described(attribute: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ';');
    if attribute.starts_with(|c: char| c.is_ascii_alphanumeric()) && attribute.chars().all(fits) {
        Ok(())
    } else {
        Err(format!("`{attribute}` is no attribute"))
    }
}

/// `initial*any*any*final`, each but the asterisks optional.
fn substrings(value: &str) -> Result<Vec<u8>, String> {
    let last = value.matches('*').count();
    let mut parts = Vec::new();
    for (index, part) in value.split('*').enumerate() {
        let tag = match index {
            0 => 0x80,
            index if index == last => 0x82,
            _ => 0x81,
        };
        if !part.is_empty() {
            parts.extend(element(tag, &unescape(part)?));
        }
    }
    if parts.is_empty() {
        return Err(format!("`{value}` has nothing between its asterisks"));
    }
    Ok(element(SEQUENCE, &parts))
}

/// `attribute:dn:rule:=value`: attribute, `dn` and rule are optional, but one of attribute and rule must be there.
fn extensible(left: &str, value: &str) -> Result<Vec<u8>, String> {
    let mut words = left.split(':');
    let attribute = words.next().filter(|attribute| !attribute.is_empty());
    let mut rule = words.next();
    let dn = rule.is_some_and(|word| word.eq_ignore_ascii_case("dn"));
    if dn {
        rule = words.next();
    }
    if words.next().is_some() || (attribute, rule) == (None, None) {
        return Err(format!("`{left}:=` is no attribute with a matching rule"));
    }
    let mut parts = Vec::new();
    for (tag, name) in [(0x81, rule), (0x82, attribute)] {
        if let Some(name) = name {
            described(name)?;
            parts.extend(element(tag, name.as_bytes()));
        }
    }
    parts.extend(element(0x83, &unescape(value)?));
    if dn {
        parts.extend(element(0x84, &[0xff]));
    }
    Ok(element(EXTENSIBLE, &parts))
}

/// The bytes meant by a value: `\` and two hexadecimal digits stand for one byte.
fn unescape(value: &str) -> Result<Vec<u8>, String> {
    let mut words = value.split('\\');
    let mut bytes = words.next().unwrap_or_default().as_bytes().to_vec();
    for word in words {
        let (digits, rest) = word
            .split_at_checked(2)
            .filter(|(digits, _)| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .ok_or_else(|| format!("`\\` in `{value}` must be followed by two hexadecimal digits"))?;
        bytes.extend(u8::from_str_radix(digits, 16));
        bytes.extend_from_slice(rest.as_bytes());
    }
    if value.contains('*') {
        return Err(format!("`*` in `{value}` must be written `\\2a`"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_become_the_bytes_of_the_protocol() {
        for (text, bytes) in [
            ("(cn=Bob)", &b"\xa3\x09\x04\x02cn\x04\x03Bob"[..]),
            ("(cn=)", b"\xa3\x06\x04\x02cn\x04\x00"),
            ("(objectClass=*)", b"\x87\x0bobjectClass"),
            ("(n>=5)", b"\xa5\x06\x04\x01n\x04\x015"),
            ("(n<=5)", b"\xa6\x06\x04\x01n\x04\x015"),
            ("(cn~=Bob)", b"\xa8\x09\x04\x02cn\x04\x03Bob"),
            ("(cn=a*)", b"\xa4\x09\x04\x02cn\x30\x03\x80\x01a"),
            (
                "(cn=a*b*c)",
                b"\xa4\x0f\x04\x02cn\x30\x09\x80\x01a\x81\x01b\x82\x01c",
            ),
            ("(cn=*b*)", b"\xa4\x09\x04\x02cn\x30\x03\x81\x01b"),
            ("(cn=*c)", b"\xa4\x09\x04\x02cn\x30\x03\x82\x01c"),
            (r"(cn=\2a\28\29\5c\00)", b"\xa3\x0b\x04\x02cn\x04\x05*()\\\x00"),
            (
                "(cn:dn:2.4.6:=F)",
                b"\xa9\x11\x81\x052.4.6\x82\x02cn\x83\x01F\x84\x01\xff",
            ),
            ("(:2.4.6:=F)", b"\xa9\x0a\x81\x052.4.6\x83\x01F"),
            ("(cn:=F)", b"\xa9\x07\x82\x02cn\x83\x01F"),
            (
                "(&(a=b)(!(c=d)))",
                b"\xa0\x12\xa3\x06\x04\x01a\x04\x01b\xa2\x08\xa3\x06\x04\x01c\x04\x01d",
            ),
            ("(|)", b"\xa1\x00"),
        ] {
            assert_eq!(parse(text).unwrap(), bytes, "{text}");
        }
        // RFC 4515 §4.
        assert_eq!(parse(r"(sn=Lu\c4\8di\c4\87)"), parse("(sn=Lučić)"));
    }

    #[test]
    fn anything_else_is_refused_with_its_place() {
        for (text, part) in [
            ("", "`(` is missing at the end"),
            ("cn=Bob", "`(` is missing before `cn=Bob`"),
            ("(cn=Bob", "`)` is missing at the end"),
            ("(cn=Bob))", "`)` follows the end"),
            ("(cn)", "`cn` has no `=`"),
            ("(=x)", "`` is no attribute"),
            ("(c n=x)", "`c n` is no attribute"),
            ("(cn=**)", "nothing between its asterisks"),
            (r"(cn=\2)", "two hexadecimal digits"),
            (r"(cn=\é)", "two hexadecimal digits"),
            (r"(cn=\zz)", "two hexadecimal digits"),
            ("(n>=a*)", r"`*` in `a*` must be written `\2a`"),
            ("(!)", "`(` is missing before `)`"),
            ("(!(a=b)(c=d))", "`)` is missing before `(c=d))`"),
            ("(:=x)", "no attribute with a matching rule"),
            ("(cn:dn:a:b:=x)", "no attribute with a matching rule"),
            ("(&(a=b)", "`)` is missing at the end"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        let deep = format!("{}(a=b){}", "(!".repeat(5000), ")".repeat(5000));
        assert_eq!(parse(&deep).unwrap_err(), "nested deeper than 32 levels");
    }
}
