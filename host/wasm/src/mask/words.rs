//! A set of words, and where they are in a text.

use std::{
    iter,
    ops::Range,
    sync::{Arc, OnceLock},
};

/// So many bytes of a longer word count as the word.
pub(super) const LEAD: usize = 64;

/// Words in order, none of them empty.
#[derive(Clone, Default)]
pub(super) struct Words {
    sorted: Vec<Arc<str>>,
    index: OnceLock<Index>,
}

/// What a search needs to know of the words.
#[derive(Clone)]
struct Index {
    /// By byte, whether a word begins with it.
    begins: Vec<bool>,
    /// By word, the longest other word that it begins with.
    inner: Vec<Option<usize>>,
}

impl Words {
    pub(super) fn len(&self) -> usize {
        self.sorted.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.sorted.iter().map(|word| &**word)
    }

    pub(super) fn has(&self, word: &str) -> bool {
        self.place(word).is_ok()
    }

    pub(super) fn add(&mut self, word: &str) {
        if let Err(place) = self.place(word) {
            self.sorted.insert(place, word.into());
            self.index.take();
        }
    }

    fn place(&self, word: &str) -> Result<usize, usize> {
        self.sorted.binary_search_by(|known| (**known).cmp(word))
    }

    /// Bytes of the longest.
    pub(super) fn longest(&self) -> usize {
        self.iter().map(str::len).max().unwrap_or(0)
    }

    /// Where words are in `text`, the longest of those that begin at a place, one after the other.
    pub(super) fn spans<'a>(&'a self, text: &'a [u8]) -> impl Iterator<Item = Range<usize>> + 'a {
        let index = self.index.get_or_init(|| Index::of(&self.sorted));
        let begins = |byte: &u8| index.begins.get(usize::from(*byte)) == Some(&true);
        let mut at = 0;
        iter::from_fn(move || {
            while let Some(rest) = text.get(at..) {
                let start = at + rest.iter().position(begins)?;
                let length = self.begun(text.get(start..)?, index);
                at = start + length.max(1);
                if length > 0 {
                    return Some(start..at);
                }
            }
            None
        })
    }

    /// How much of the beginning of `text` is a word; 0 if none is. Words next to `text` in order have most in common
    /// with it, and all it begins with are also what the last one before it begins with.
    fn begun(&self, text: &[u8], index: &Index) -> usize {
        let after = self.sorted.partition_point(|word| word.as_bytes() <= text);
        let shared = |place: usize| self.sorted.get(place).map_or(0, |word| shared(word, text));
        let before = after.checked_sub(1);
        let common = before.map_or(0, shared);
        let most = common.max(shared(after));
        if most >= LEAD {
            return most;
        }
        let inner = |place: &usize| index.inner.get(*place).copied().flatten();
        iter::successors(before, inner)
            .filter_map(|place| self.sorted.get(place))
            .map(|word| word.len())
            .find(|length| *length <= common)
            .unwrap_or(0)
    }
}

impl Index {
    fn of(sorted: &[Arc<str>]) -> Self {
        let mut begins = vec![false; 256];
        let mut inner = Vec::with_capacity(sorted.len());
        // Those that the next one may begin with, each beginning with the one before.
        let mut open: Vec<(usize, &str)> = Vec::new();
        for (place, word) in sorted.iter().enumerate() {
            for byte in word.bytes().take(1) {
                begins
                    .iter_mut()
                    .skip(byte.into())
                    .take(1)
                    .for_each(|begins| *begins = true);
            }
            while open.pop_if(|(_, outer)| !word.starts_with(*outer)).is_some() {}
            inner.push(open.last().map(|(place, _)| *place));
            open.push((place, word));
        }
        Self { begins, inner }
    }
}

/// Bytes that both begin with.
fn shared(word: &str, text: &[u8]) -> usize {
    let same = iter::zip(word.bytes(), text).take_while(|(a, b)| a == *b);
    same.count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(words: &[&str], text: &str) -> Vec<(usize, usize)> {
        let mut set = Words::default();
        for word in words {
            set.add(word);
        }
        let spans = set.spans(text.as_bytes());
        spans.map(|span| (span.start, span.end)).collect()
    }

    #[test]
    fn the_longest_word_at_a_place_is_found() {
        let words = ["ab", "abcd", "abcde!", "b", "xy"];
        assert_eq!(spans(&words, "abcdef abc b"), [(0, 4), (7, 9), (11, 12)]);
        assert_eq!(spans(&words, "-abcde!"), [(1, 7)]);
        assert!(spans(&words, "x y a").is_empty());
        assert!(spans(&[], "anything").is_empty());
    }

    #[test]
    fn so_much_of_a_long_word_is_found_too() {
        let word = "0123456789".repeat(10);
        let cut = |length| word.get(..length).unwrap();
        assert_eq!(spans(&[&word], cut(LEAD)), [(0, LEAD)]);
        assert!(spans(&[&word], cut(LEAD - 1)).is_empty());
        assert_eq!(
            spans(&[&word], &format!("{}-{word}", cut(70))),
            [(0, 70), (71, 171)]
        );
    }

    /// Against the plainest search there is.
    #[test]
    fn words_within_words_are_found_as_by_looking_for_each() {
        let words: Vec<String> = (1..5_usize)
            .flat_map(|length| (0..1 << length).map(move |bits| (length, bits)))
            .filter(|(length, bits)| (bits * 7 + length) % 3 == 0)
            .map(|(length, bits)| {
                (0..length)
                    .map(|n| if bits >> n & 1 == 0 { 'a' } else { 'b' })
                    .collect()
            })
            .collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let text = |seed: u32| -> String {
            (0..20)
                .map(|n| {
                    if seed.wrapping_mul(2_654_435_761) >> n & 1 == 0 {
                        'a'
                    } else {
                        'b'
                    }
                })
                .collect()
        };
        for text in (0..500).map(text) {
            let (mut expected, mut at) = (Vec::new(), 0);
            while at < text.len() {
                let begun = words
                    .iter()
                    .filter(|word| text.get(at..).unwrap().starts_with(**word));
                let length = begun.map(|word| word.len()).max().unwrap_or(0);
                if length > 0 {
                    expected.push((at, at + length));
                }
                at += length.max(1);
            }
            assert_eq!(spans(&words, &text), expected, "{text}");
        }
    }
}
