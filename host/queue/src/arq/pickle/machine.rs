//! The small machine that a pickle is a program for (source: CPython's `pickletools`).

use super::MOST_VALUES;
use std::{collections::HashMap, rc::Rc};

pub(super) const TOO_MANY: &str = "it holds too many values";

/// A value while the program runs; children are places in [`Machine::nodes`].
pub(super) enum Node<'a> {
    None,
    Bool(bool),
    Int(i128),
    Big(&'a [u8]),
    Float(f64),
    Str(&'a str),
    Bytes(&'a [u8]),
    List(Vec<usize>),
    Tuple(Vec<usize>),
    Dict(Vec<usize>),
    Set(Vec<usize>),
    FrozenSet(Vec<usize>),
    /// A class or function by name, or what a call of it would have made, from what.
    Object(Rc<str>, Option<usize>),
}

pub(super) struct Machine<'a> {
    rest: &'a [u8],
    pub(super) nodes: Vec<Node<'a>>,
    pub(super) stack: Vec<usize>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, usize>,
}

impl<'a> Machine<'a> {
    pub(super) fn new(rest: &'a [u8]) -> Self {
        Self {
            rest,
            nodes: Vec::with_capacity(32),
            stack: Vec::with_capacity(16),
            marks: Vec::new(),
            memo: HashMap::new(),
        }
    }

    /// Runs to the end; the place of what is left on the stack.
    pub(super) fn run(&mut self) -> Result<usize, String> {
        loop {
            let [opcode] = self.array()?;
            if opcode == b'.' {
                return self.pop();
            }
            self.step(opcode)?;
        }
    }

    fn step(&mut self, opcode: u8) -> Result<(), String> {
        match opcode {
            // PROTO, FRAME: nothing to do.
            0x80 => drop(self.array::<1>()?),
            0x95 => drop(self.array::<8>()?),
            // MARK, POP, POP_MARK, DUP
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.since_mark()?),
            b'2' => {
                let top = *self.stack.last().ok_or_else(underflow)?;
                self.stack.push(top);
            }
            // NONE, NEWTRUE, NEWFALSE
            b'N' => self.push(Node::None)?,
            0x88 => self.push(Node::Bool(true))?,
            0x89 => self.push(Node::Bool(false))?,
            // BININT, BININT1, BININT2, LONG1, LONG4
            b'J' => {
                let number = i32::from_le_bytes(self.array()?);
                self.push(Node::Int(number.into()))?;
            }
            b'K' => {
                let [number] = self.array()?;
                self.push(Node::Int(number.into()))?;
            }
            b'M' => {
                let number = u16::from_le_bytes(self.array()?);
                self.push(Node::Int(number.into()))?;
            }
            0x8a => self.long(1)?,
            0x8b => self.long(4)?,
            b'G' => {
                let number = f64::from_be_bytes(self.array()?);
                self.push(Node::Float(number))?;
            }
            // SHORT_BINUNICODE, BINUNICODE, BINUNICODE8; SHORT_BINSTRING, BINSTRING
            0x8c | b'U' => self.text(1)?,
            b'X' | b'T' => self.text(4)?,
            0x8d => self.text(8)?,
            // SHORT_BINBYTES, BINBYTES, BINBYTES8, BYTEARRAY8
            b'C' => self.bytes(1)?,
            b'B' => self.bytes(4)?,
            0x8e | 0x96 => self.bytes(8)?,
            // EMPTY_LIST, LIST, APPEND
            b']' => self.push(Node::List(Vec::new()))?,
            b'l' => self.gather(Node::List)?,
            b'a' => {
                let item = self.pop()?;
                self.extend(vec![item])?;
            }
            // EMPTY_TUPLE, TUPLE, TUPLE1, TUPLE2, TUPLE3
            b')' => self.push(Node::Tuple(Vec::new()))?,
            b't' => self.gather(Node::Tuple)?,
            0x85..=0x87 => {
                let count = usize::from(opcode - 0x84);
                let from = self.stack.len().checked_sub(count).ok_or_else(underflow)?;
                let items = self.stack.split_off(from);
                self.push(Node::Tuple(items))?;
            }
            // EMPTY_DICT, DICT, SETITEM; APPENDS, SETITEMS, ADDITEMS
            b'}' => self.push(Node::Dict(Vec::new()))?,
            b'd' => self.gather(Node::Dict)?,
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.extend(vec![key, value])?;
            }
            b'e' | b'u' | 0x90 => {
                let entries = self.since_mark()?;
                self.extend(entries)?;
            }
            // EMPTY_SET, FROZENSET
            0x8f => self.push(Node::Set(Vec::new()))?,
            0x91 => self.gather(Node::FrozenSet)?,
            // MEMOIZE, BINPUT, LONG_BINPUT, BINGET, LONG_BINGET
            0x94 => {
                let number = u32::try_from(self.memo.len()).map_err(|_| underflow())?;
                self.remember(number)?;
            }
            b'q' => {
                let [number] = self.array()?;
                self.remember(number.into())?;
            }
            b'r' => {
                let number = u32::from_le_bytes(self.array()?);
                self.remember(number)?;
            }
            b'h' => {
                let [number] = self.array()?;
                self.recall(number.into())?;
            }
            b'j' => {
                let number = u32::from_le_bytes(self.array()?);
                self.recall(number)?;
            }
            _ => return self.object(opcode),
        }
        Ok(())
    }

    /// What names classes and functions and would call them.
    fn object(&mut self, opcode: u8) -> Result<(), String> {
        match opcode {
            // GLOBAL, STACK_GLOBAL
            b'c' => {
                let name = self.global()?;
                self.named(&name)?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let part = |at| match self.nodes.get(at) {
                    Some(Node::Str(text)) => shortened(text),
                    _ => "?",
                };
                let name = format!("{}.{}", part(module), part(name));
                self.named(&name)?;
            }
            // REDUCE, NEWOBJ; NEWOBJ_EX; OBJ, INST
            b'R' | 0x81 => {
                let (arguments, class) = (self.pop()?, self.pop()?);
                self.made(class, Some(arguments))?;
            }
            0x92 => {
                let (_, arguments, class) = (self.pop()?, self.pop()?, self.pop()?);
                self.made(class, Some(arguments))?;
            }
            b'o' => {
                let parts = self.since_mark()?;
                let class = *parts.first().ok_or_else(underflow)?;
                self.made(class, None)?;
            }
            b'i' => {
                let name = self.global()?;
                self.since_mark()?;
                self.named(&name)?;
            }
            // BUILD: the state belongs to the object below it.
            b'b' => {
                self.pop()?;
                let top = *self.stack.last().ok_or_else(underflow)?;
                if !matches!(self.nodes.get(top), Some(Node::Object(..))) {
                    return Err("a state for what is no object".to_owned());
                }
            }
            // EXT1, EXT2, EXT4: classes by number. BINPERSID. NEXT_BUFFER, READONLY_BUFFER: data beside the pickle.
            0x82..=0x84 => {
                let width = 1 << (opcode - 0x82);
                self.take(width)?;
                self.named("an extension")?;
            }
            b'Q' => {
                self.pop()?;
                self.named("a persistent id")?;
            }
            0x97 => self.named("a buffer")?,
            0x98 => {}
            _ => return Err(format!("unknown instruction 0x{opcode:02x}")),
        }
        Ok(())
    }

    fn named(&mut self, name: &str) -> Result<(), String> {
        self.push(Node::Object(name.into(), None))
    }

    fn made(&mut self, class: usize, arguments: Option<usize>) -> Result<(), String> {
        let name = match self.nodes.get(class) {
            Some(Node::Object(name, _)) => name.clone(),
            _ => return Err("a call of what cannot be called".to_owned()),
        };
        self.push(Node::Object(name, arguments))
    }

    fn push(&mut self, node: Node<'a>) -> Result<(), String> {
        if self.nodes.len() >= MOST_VALUES {
            return Err(TOO_MANY.to_owned());
        }
        self.stack.push(self.nodes.len());
        self.nodes.push(node);
        Ok(())
    }

    fn pop(&mut self) -> Result<usize, String> {
        if self.marks.last() == Some(&self.stack.len()) {
            return Err(underflow());
        }
        self.stack.pop().ok_or_else(underflow)
    }

    fn since_mark(&mut self) -> Result<Vec<usize>, String> {
        let from = self.marks.pop().ok_or_else(underflow)?;
        if from > self.stack.len() {
            return Err(underflow());
        }
        Ok(self.stack.split_off(from))
    }

    fn gather(&mut self, node: fn(Vec<usize>) -> Node<'a>) -> Result<(), String> {
        let items = self.since_mark()?;
        self.push(node(items))
    }

    /// Adds to the container on top; what an object would have been given is forgotten.
    fn extend(&mut self, items: Vec<usize>) -> Result<(), String> {
        let top = *self.stack.last().ok_or_else(underflow)?;
        match self.nodes.get_mut(top) {
            Some(Node::List(list) | Node::Set(list) | Node::Dict(list)) => list.extend(items),
            Some(Node::Object(..)) => {}
            _ => return Err("items for what holds none".to_owned()),
        }
        Ok(())
    }

    fn remember(&mut self, number: u32) -> Result<(), String> {
        let top = *self.stack.last().ok_or_else(underflow)?;
        self.memo.insert(number, top);
        Ok(())
    }

    fn recall(&mut self, number: u32) -> Result<(), String> {
        let at = self.memo.get(&number);
        self.stack
            .push(*at.ok_or_else(|| format!("nothing was memoized as {number}"))?);
        Ok(())
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or_else(|| "it ends early".to_owned())?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let bytes = self.take(N)?;
        bytes.try_into().map_err(|_| underflow())
    }

    /// Bytes after their length, which is `width` bytes wide.
    fn sized(&mut self, width: usize) -> Result<&'a [u8], String> {
        let mut length = [0; 8];
        for (place, byte) in length.iter_mut().zip(self.take(width)?) {
            *place = *byte;
        }
        self.take(usize::try_from(u64::from_le_bytes(length)).unwrap_or(usize::MAX))
    }

    fn text(&mut self, width: usize) -> Result<(), String> {
        let node = match str::from_utf8(self.sized(width)?) {
            Ok(text) => Node::Str(text),
            Err(_) => Node::Object("text that is no Unicode".into(), None),
        };
        self.push(node)
    }

    fn bytes(&mut self, width: usize) -> Result<(), String> {
        let bytes = self.sized(width)?;
        self.push(Node::Bytes(bytes))
    }

    /// An integer in two's complement, little endian.
    fn long(&mut self, width: usize) -> Result<(), String> {
        let bytes = self.sized(width)?;
        let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut whole = [if negative { 0xff } else { 0 }; 16];
        let node = match whole.get_mut(..bytes.len()) {
            Some(low) => {
                low.copy_from_slice(bytes);
                Node::Int(i128::from_le_bytes(whole))
            }
            None => Node::Big(bytes),
        };
        self.push(node)
    }

    /// Two lines: a module and a name in it.
    fn global(&mut self) -> Result<String, String> {
        let mut line = || {
            let end = self.rest.iter().position(|&byte| byte == b'\n');
            let end = end.ok_or_else(|| "it ends early".to_owned())?;
            let line = String::from_utf8_lossy(self.take(end)?).into_owned();
            self.take(1)?;
            Ok::<_, String>(line)
        };
        let (module, name) = (line()?, line()?);
        Ok(format!("{}.{}", shortened(&module), shortened(&name)))
    }
}

pub(super) fn underflow() -> String {
    "it takes what is not there".to_owned()
}

/// Names of classes are short; what is not must not be copied over and over.
fn shortened(name: &str) -> &str {
    name.get(..name.floor_char_boundary(60)).unwrap_or(name)
}
