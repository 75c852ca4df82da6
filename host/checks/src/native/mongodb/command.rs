//! The command to run: JSON, in the order it is written in.

use bson::{Bson, Document};
use serde_json::Value;

/// Commands that only read. `aggregate` does unless it has a stage that writes.
const READING: [&str; 42] = [
    "aggregate",
    "buildinfo",
    "collstats",
    "connectionstatus",
    "connpoolstats",
    "count",
    "currentop",
    "datasize",
    "dbhash",
    "dbstats",
    "distinct",
    "explain",
    "features",
    "find",
    "getcmdlineopts",
    "getdefaultrwconcern",
    "getlog",
    "getparameter",
    "getshardmap",
    "hello",
    "hostinfo",
    "isdbgrid",
    "ismaster",
    "isself",
    "listcollections",
    "listcommands",
    "listdatabases",
    "listindexes",
    "listshards",
    "lockinfo",
    "ping",
    "replsetgetconfig",
    "replsetgetstatus",
    "rolesinfo",
    "serverstatus",
    "shardconnpoolstats",
    "shardingstate",
    "top",
    "usersinfo",
    "validatedbmetadata",
    "whatsmyuri",
    "balancerstatus",
];

/// Reads `text`. The error is the message.
pub(super) fn parse(text: &str, allow_writes: bool) -> Result<Document, String> {
    let text = match text.trim() {
        "" => r#"{"ping": 1}"#,
        text => text,
    };
    let unfit = |why: String| format!("invalid MongoDB command JSON: {why}");
    let value: Value = serde_json::from_str(text).map_err(|error| unfit(error.to_string()))?;
    let command = match Bson::try_from(value) {
        Ok(Bson::Document(command)) => command,
        Ok(_) => return Err(unfit("expected an object".to_owned())),
        Err(error) => return Err(unfit(error.to_string())),
    };
    let Some(name) = command.keys().next() else {
        return Err(unfit("expected the command's name as the first key".to_owned()));
    };
    if !allow_writes && !only_reads(name, &command) {
        return Err(format!(
            "`command`: `{name}` is not known to only read; `allowWrites` allows it all the same"
        ));
    }
    Ok(command)
}

fn only_reads(name: &str, command: &Document) -> bool {
    let name = name.to_ascii_lowercase();
    READING.contains(&name.as_str()) && !writes(command)
}

/// Whether there is a stage that writes, at whatever depth.
fn writes(document: &Document) -> bool {
    document.iter().any(|(key, value)| {
        matches!(key.as_str(), "$out" | "$merge")
            || match value {
                Bson::Document(inner) => writes(inner),
                Bson::Array(items) => items
                    .iter()
                    .any(|item| matches!(item, Bson::Document(inner) if writes(inner))),
                _ => false,
            }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_keeps_its_order_and_its_types() {
        let command = parse(
            r#"{"find": "t", "filter": {"_id": {"$oid": "507f1f77bcf86cd799439011"}}, "limit": 1}"#,
            false,
        )
        .unwrap();
        assert_eq!(command.keys().collect::<Vec<_>>(), ["find", "filter", "limit"]);
        assert!(
            command
                .get_document("filter")
                .unwrap()
                .get_object_id("_id")
                .is_ok()
        );
        assert_eq!(parse(" ", false).unwrap().keys().next().unwrap(), "ping");
    }

    #[test]
    fn what_may_write_must_be_allowed() {
        for text in [
            r#"{"delete": "t", "deletes": []}"#,
            r#"{"aggregate": "t", "pipeline": [{"$match": {}}, {"$out": "u"}], "cursor": {}}"#,
            r#"{"explain": {"aggregate": "t", "pipeline": [{"$merge": {"into": "u"}}]}}"#,
            r#"{"shutdown": 1}"#,
        ] {
            assert!(
                parse(text, false).unwrap_err().contains("`allowWrites`"),
                "{text}"
            );
            assert!(parse(text, true).is_ok(), "{text}");
        }
        for text in ["[]", "{}", "{", "1", r#"{"find": {"$oid": "x"}}"#] {
            assert!(
                parse(text, true)
                    .unwrap_err()
                    .starts_with("invalid MongoDB command JSON: "),
                "{text}"
            );
        }
    }
}
