//! A method known by the text of its definition only: compiled at run time, its messages dynamic.

use crate::{findings::invalid, schema::Fault};
use bytes::Bytes;
use prost::Message;
use prost_reflect::{DynamicMessage, MethodDescriptor, SerializeOptions, ServiceDescriptor};
use protox::{
    Compiler, Error,
    file::{ChainFileResolver, File, FileResolver, GoogleFileResolver},
};

/// Longest definition to compile, in bytes.
const MAX_TEXT: usize = 256 * 1024;
/// Deepest nesting of a definition: its reader recurses.
const MAX_DEPTH: usize = 32;
/// The name of the definition, in errors.
const FILE: &str = "grpcProtobuf";

/// A method that can be called.
pub(super) struct Method {
    descriptor: MethodDescriptor,
}

/// The one file there is.
struct Definition(String);

impl FileResolver for Definition {
    fn open_file(&self, name: &str) -> Result<File, Error> {
        if name == FILE {
            File::from_source(name, &self.0)
        } else {
            Err(Error::file_not_found(name))
        }
    }
}

impl Method {
    /// Compiles `text` and looks the method up. Takes time: not for an async task.
    pub(super) fn compile(text: &str, service: &str, method: &str) -> Result<Self, Fault> {
        bounded(text).map_err(|limit| invalid(FILE, limit))?;
        let mut files = ChainFileResolver::new();
        files.add(GoogleFileResolver::new());
        files.add(Definition(text.to_owned()));
        let mut compiler = Compiler::with_file_resolver(files);
        compiler
            .open_file(FILE)
            .map_err(|error| invalid(FILE, told(&error)))?;
        let pool = compiler.descriptor_pool();
        // Not the services of imports: none of the well-known types brings one that is meant.
        let services: Vec<ServiceDescriptor> = pool
            .services()
            .filter(|found| found.parent_file().name() == FILE)
            .collect();
        let found = services
            .iter()
            .find(|found| found.full_name() == service || found.name() == service)
            .ok_or_else(|| {
                let known = services.iter().map(ServiceDescriptor::full_name);
                invalid("grpcServiceName", unknown("service", service, known))
            })?;
        let descriptor = found
            .methods()
            .find(|found| found.name() == method)
            .ok_or_else(|| {
                let known: Vec<String> = found.methods().map(|method| method.name().to_owned()).collect();
                invalid(
                    "grpcMethod",
                    unknown("method", method, known.iter().map(String::as_str)),
                )
            })?;
        if descriptor.is_client_streaming() || descriptor.is_server_streaming() {
            return Err(invalid(
                "grpcMethod",
                format_args!("`{method}` streams; only unary methods can be called"),
            ));
        }
        Ok(Self { descriptor })
    }

    /// `/package.Service/Method`.
    pub(super) fn path(&self) -> String {
        let service = self.descriptor.parent_service();
        format!("/{}/{}", service.full_name(), self.descriptor.name())
    }

    /// The request that `body` says, as JSON.
    pub(super) fn encode(&self, body: &str) -> Result<Bytes, Fault> {
        let body = Some(body).filter(|body| !body.trim().is_empty()).unwrap_or("{}");
        let mut json = serde_json::Deserializer::from_str(body);
        let message = DynamicMessage::deserialize(self.descriptor.input(), &mut json)
            .and_then(|message| json.end().map(|()| message))
            .map_err(|error| {
                let name = self.descriptor.input();
                invalid(
                    "grpcBody",
                    format_args!("is no `{}` as JSON: {error}", name.full_name()),
                )
            })?;
        Ok(message.encode_to_vec().into())
    }

    /// An answer as JSON; fields with their default value are left out.
    pub(super) fn decode(&self, answer: &Bytes) -> Result<String, String> {
        let output = self.descriptor.output();
        let unfit =
            |error: &dyn std::fmt::Display| format!("the answer is no `{}`: {error}", output.full_name());
        let message =
            DynamicMessage::decode(output.clone(), answer.clone()).map_err(|error| unfit(&error))?;
        let mut json = serde_json::Serializer::new(Vec::new());
        message
            .serialize_with_options(&mut json, &SerializeOptions::new())
            .map_err(|error| unfit(&error))?;
        Ok(String::from_utf8_lossy(&json.into_inner()).into_owned())
    }
}

/// Bounds what the compiler may cost. Opening brackets in strings and comments count, too: nobody has so many. Closing ones do
/// not: they would hide how deep the rest is, and the compiler's recursion has no bound of its own.
fn bounded(text: &str) -> Result<(), &'static str> {
    if text.len() > MAX_TEXT {
        return Err("longer than 256 KiB");
    }
    let (mut depth, mut within, mut bytes) = (0_usize, Within::Code, text.bytes().peekable());
    while let Some(byte) = bytes.next() {
        within = match (within, byte, bytes.peek()) {
            (Within::Code, b'"' | b'\'', _) => Within::String(byte),
            (Within::Code, b'/', Some(b'/')) => Within::Line,
            (Within::Code, b'/', Some(b'*')) => {
                bytes.next();
                Within::Block
            }
            (Within::String(_), b'\\', _) => {
                bytes.next();
                within
            }
            (Within::String(_), b'\n', _) => return Err("a string without its end"),
            (Within::String(quote), _, _) if quote == byte => Within::Code,
            (Within::Line, b'\n', _) => Within::Code,
            (Within::Block, b'*', Some(b'/')) => {
                bytes.next();
                Within::Code
            }
            _ => within,
        };
        match (byte, within) {
            (b'{' | b'[' | b'(' | b'<', _) => depth += 1,
            (b'}' | b']' | b')' | b'>', Within::Code) => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err("brackets nested more than 32 deep");
        }
    }
    Ok(())
}

/// Where in a definition a byte stands.
#[derive(Clone, Copy)]
enum Within {
    Code,
    /// With its quotation mark.
    String(u8),
    Line,
    Block,
}

/// The compiler's complaint in one line.
fn told(error: &Error) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.collect();
    format!(
        "the definition has no {what} `{name}`; it has: {}",
        known.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_brackets_in_strings_and_comments_do_not_hide_depth() {
        for hidden in [
            "a{s:\"}\" ",
            "a{s:'}' ",
            "a{ /* } */ ",
            "a{ // }\n",
            "a{s:\"\\\"}\" ",
        ] {
            assert!(bounded(&hidden.repeat(40)).is_err(), "{hidden}");
            assert!(bounded(&hidden.repeat(20)).is_ok(), "{hidden}");
        }
        assert!(bounded("s: \"\n").is_err());
        assert!(bounded(&"message M { string s = 1; } // (\n".repeat(20)).is_ok());
    }
}
