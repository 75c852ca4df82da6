//! Python's pickles, read without ever building an object, and written for stock clients to read.
//!
//! A pickle is a program for a small machine with a stack (source: CPython's `pickletools`); two of its instructions
//! let it call any function of Python. Here those only leave a note of what would have been called. The reader needs
//! no recursion, copies nothing before the program has ended, and what it hands out is bounded in number, depth and
//! bytes, so that shared and circular references cannot make a small pickle a large value.

mod machine;
mod write;

pub(super) use write::write;

use super::value::Value;
use machine::{Machine, Node, TOO_MANY, underflow};

/// Bounds of what is handed out.
const MOST_VALUES: usize = 200_000;
const MOST_BYTES: usize = 8 << 20;
const DEEPEST: usize = 100;

/// Whether these bytes begin as a pickle of protocol 2 to 5 does. A MessagePack map that begins with the same byte is
/// empty and ends there.
pub(super) fn is_pickle(bytes: &[u8]) -> bool {
    matches!(bytes, [0x80, 2..=5, _, ..])
}

/// Reads a pickle of protocol 2 to 5. The error says what is wrong with it.
pub(super) fn read(bytes: &[u8]) -> Result<Value, String> {
    let mut machine = Machine::new(bytes);
    let top = machine.run()?;
    let mut budget = Budget {
        values: MOST_VALUES,
        bytes: MOST_BYTES,
    };
    machine.value(top, DEEPEST, &mut budget)
}

/// What the dictionary that `prefix` begins says of `key`, if it does so before the prefix ends; only text.
pub(super) fn text_early(prefix: &[u8], key: &str) -> Option<String> {
    // What is older than protocol 2 cannot be read here, so that it is not ours whatever it says.
    if !is_pickle(prefix) {
        return None;
    }
    let mut machine = Machine::new(prefix);
    // It fails where the prefix ends; the entries seen so far are on the stack.
    let _ = machine.run();
    let texts = machine.stack.iter().map(|&at| machine.nodes.get(at));
    let mut texts = texts.skip_while(|node| !matches!(node, Some(Node::Str(text)) if *text == key));
    texts.next();
    match texts.next()? {
        Some(Node::Str(text)) => Some((*text).to_owned()),
        _ => None,
    }
}

struct Budget {
    values: usize,
    bytes: usize,
}

impl Machine<'_> {
    /// What stands at `at`, on its own.
    fn value(&self, at: usize, deeper: usize, budget: &mut Budget) -> Result<Value, String> {
        budget.values = budget.values.checked_sub(1).ok_or(TOO_MANY)?;
        let deeper = deeper.checked_sub(1).ok_or("it is nested too deeply")?;
        let mut spend = |count: usize| match budget.bytes.checked_sub(count) {
            Some(left) => {
                budget.bytes = left;
                Ok(())
            }
            None => Err("it holds too much"),
        };
        Ok(match self.nodes.get(at).ok_or_else(underflow)? {
            Node::None => Value::None,
            Node::Bool(truth) => Value::Bool(*truth),
            Node::Int(number) => Value::Int(*number),
            Node::Big(bytes) => {
                spend(bytes.len())?;
                Value::Big(bytes.to_vec())
            }
            Node::Float(number) => Value::Float(*number),
            Node::Str(text) => {
                spend(text.len())?;
                Value::Str((*text).to_owned())
            }
            Node::Bytes(bytes) => {
                spend(bytes.len())?;
                Value::Bytes(bytes.to_vec())
            }
            Node::List(items) => Value::List(self.values(items, deeper, budget)?),
            Node::Tuple(items) => Value::Tuple(self.values(items, deeper, budget)?),
            Node::Set(items) => Value::Set(self.values(items, deeper, budget)?),
            Node::FrozenSet(items) => Value::FrozenSet(self.values(items, deeper, budget)?),
            Node::Dict(items) => {
                let mut items = self.values(items, deeper, budget)?.into_iter();
                let mut entries = Vec::with_capacity(items.len() / 2);
                while let Some(key) = items.next() {
                    entries.push((key, items.next().ok_or("a key without a value")?));
                }
                Value::Dict(entries)
            }
            Node::Object(name, arguments) => {
                let first = arguments.and_then(|at| match self.nodes.get(at)? {
                    Node::Tuple(items) => self.nodes.get(*items.first()?),
                    _ => None,
                });
                let text = match first {
                    Some(Node::Str(text)) => Some((*text).to_owned()),
                    _ => None,
                };
                spend(name.len() + text.as_ref().map_or(0, String::len))?;
                Value::Object {
                    name: name.to_string(),
                    text,
                }
            }
        })
    }

    fn values(&self, items: &[usize], deeper: usize, budget: &mut Budget) -> Result<Vec<Value>, String> {
        items
            .iter()
            .map(|&item| self.value(item, deeper, budget))
            .collect()
    }
}

#[cfg(test)]
mod tests;
