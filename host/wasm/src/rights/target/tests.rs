use super::*;
use serde_json::json;

/// `host port,port` of each target; `*` is any port.
fn targets(schema: &Value, config: &Value) -> Vec<String> {
    targets_but(schema, config, &[])
}

/// As `targets`, where these fields have the schema's defaults.
fn targets_but(schema: &Value, config: &Value, filled: &[&str]) -> Vec<String> {
    let filled: Vec<String> = filled.iter().map(ToString::to_string).collect();
    let found = Map::read(schema).unwrap().targets(config, &filled);
    let shown = |target: Target| {
        let ports: Vec<String> = [22, 25, 79, 80, 443, 636, 1234]
            .iter()
            .filter(|port| target.ports.admit(Some(**port)))
            .map(ToString::to_string)
            .collect();
        let ports = if target.ports.is_any() {
            "*".to_owned()
        } else {
            ports.join(",")
        };
        format!("{} {ports}", target.host)
    };
    found.into_iter().map(shown).collect()
}

fn one(field: &Value, value: &Value) -> Vec<String> {
    targets(&json!({ "properties": { "it": field } }), &json!({ "it": value }))
}

#[test]
fn a_default_names_no_place_but_a_port() {
    let field = |mark: &str| json!({ "x-lapwing-target": mark });
    let schema =
        json!({ "properties": { "host": field("host"), "port": field("port"), "relay": field("url") } });
    let config = json!({ "host": "a.test", "port": 25, "relay": "http://b.test/" });
    assert_eq!(targets_but(&schema, &config, &["port", "relay"]), ["a.test 25"]);
    assert_eq!(targets_but(&schema, &config, &["host"]), ["b.test 80,443"]);
}

#[test]
fn formats_and_marks_name_targets() {
    for (field, value, expected) in [
        (
            json!({"format": "hostname"}),
            json!("Example.COM."),
            "example.com *",
        ),
        (
            json!({"format": "idn-hostname"}),
            json!("bücher.example"),
            "xn--bcher-kva.example *",
        ),
        (json!({"format": "ipv4"}), json!("10.0.0.1"), "10.0.0.1 *"),
        (json!({"format": "ipv6"}), json!("::ffff:10.0.0.1"), "10.0.0.1 *"),
        (json!({"format": "uri"}), json!("https://a.test/x"), "a.test 443"),
        (
            json!({"format": "iri"}),
            json!("http://a.test:1234"),
            "a.test 1234",
        ),
        (
            json!({"x-lapwing-target": "url"}),
            json!("http://a.test"),
            "a.test 80,443",
        ),
        (
            json!({"x-lapwing-target": "url"}),
            json!("ldaps://A.test/dc=x"),
            "a.test 636",
        ),
        (
            json!({"x-lapwing-target": "url"}),
            json!("gopher://a.test"),
            "a.test *",
        ),
        (
            json!({"x-lapwing-target": "host:port"}),
            json!("a.test:22"),
            "a.test 22",
        ),
        (
            json!({"x-lapwing-target": "host:port"}),
            json!("[::1]:22"),
            "::1 22",
        ),
        (json!({"x-lapwing-target": "host:port"}), json!("::1"), "::1 *"),
    ] {
        assert_eq!(one(&field, &value), [expected], "{field} {value}");
    }
    let none = json!({"format": "hostname", "x-lapwing-target": "none"});
    assert_eq!(one(&none, &json!("a.test")), [""; 0]);
    assert_eq!(one(&json!({"type": "string"}), &json!("a.test")), [""; 0]);
}

#[test]
fn odd_spellings_are_normalised_or_no_target() {
    let host = json!({"format": "hostname"});
    for text in [
        "0x7f.1",
        "127.1",
        "2130706433",
        "0177.0.0.1",
        "user@a.test",
        "a.test:80",
        "%61.test",
        "a b",
        "",
        "http://a.test",
        "a..test",
        "127。0。0。1",
    ] {
        assert_eq!(one(&host, &json!(text)), [""; 0], "{text}");
    }
    let url = json!({"format": "uri"});
    for (text, expected) in [
        // What a URL means is settled by its standard, for the target and for the request alike.
        ("http://0x7f.1/", "127.0.0.1 80,443"),
        ("http://2130706433:1234/", "127.0.0.1 1234"),
        ("http://user:pw@a.test:1234/", "a.test 1234"),
        ("http://a.test@evil.test:1234/", "evil.test 1234"),
        ("http://%61.test:1234/", "a.test 1234"),
        ("http://a。test:1234/", "a.test 1234"),
        ("http://a.test.:1234/", "a.test 1234"),
        ("http://[::ffff:127.0.0.1]:1234/", "127.0.0.1 1234"),
        ("http://a.test\\@evil.test:1234/", "a.test 80,443"),
    ] {
        assert_eq!(one(&url, &json!(text)), [expected], "{text}");
    }
    for text in [
        "no url",
        "http://",
        "mailto:a@b.test",
        "data:,x",
        "ldap://%31%32%37.1/",
        "//a.test/",
    ] {
        assert_eq!(one(&url, &json!(text)), [""; 0], "{text}");
    }
}

#[test]
fn a_port_is_for_the_hosts_of_its_object() {
    let server =
        json!({ "properties": { "host": {"format": "hostname"}, "port": {"x-lapwing-target": "port"} } });
    assert_eq!(
        targets(&server, &json!({"host": "a.test", "port": 25})),
        ["a.test 25"]
    );
    assert_eq!(
        targets(&server, &json!({"host": "a.test", "port": "25"})),
        ["a.test 25"]
    );
    assert_eq!(targets(&server, &json!({"host": "a.test"})), ["a.test *"]);
    let list = json!({
        "properties": {
            "servers": { "type": "array", "items": { "$ref": "#/$defs/Server" } },
            "port": { "x-lapwing-target": "port" },
            "names": { "items": { "format": "hostname" } },
            "ports": { "items": { "x-lapwing-target": "port" } },
        },
        "$defs": { "Server": server },
    });
    let config = json!({
        "servers": [{"host": "a.test", "port": 22}, {"host": "b.test"}],
        "port": 79,
        "names": ["c.test", "d.test"],
        "ports": [80, 70_000],
    });
    assert_eq!(
        targets(&list, &config),
        ["a.test 22", "b.test *", "c.test 79,80", "d.test 79,80"]
    );
}

#[test]
fn alternatives_references_and_maps_are_looked_into() {
    let schema = json!({
        "oneOf": [
            { "properties": { "via": {"const": "http"}, "url": {"format": "uri"} } },
            { "allOf": [{ "$ref": "#/$defs/tcp" }] },
        ],
        "then": { "properties": { "extra": {"format": "ipv4"} } },
        "$defs": { "tcp": { "properties": { "host": {"anyOf": [{"format": "hostname"}, {"format": "ipv4"}]} } } },
    });
    assert_eq!(
        targets(&schema, &json!({"url": "https://a.test"})),
        ["a.test 443"]
    );
    assert_eq!(
        targets(&schema, &json!({"host": "b.test", "extra": "10.0.0.1"})),
        ["b.test *", "10.0.0.1 *"]
    );
    let map = json!({ "properties": { "by_name": { "additionalProperties": {"format": "hostname"} } } });
    assert_eq!(
        targets(&map, &json!({"by_name": {"x": "a.test", "y": null}})),
        ["a.test *"]
    );
}

#[test]
fn a_recursive_schema_has_an_end() {
    let schema = json!({
        "properties": { "host": {"format": "hostname"}, "next": {"$ref": "#"}, "also": {"$ref": "#"} },
    });
    let config = json!({"host": "a.test", "next": {"host": "b.test", "next": {"host": "c.test"}}});
    assert_eq!(targets(&schema, &config), ["a.test *", "b.test *", "c.test *"]);
    let deep = (0..50).fold(json!({"host": "deep.test"}), |inner, _| json!({ "next": inner }));
    assert_eq!(targets(&schema, &deep), [""; 0]);
    let many = json!({ "items": {"format": "hostname"} });
    let names: Vec<String> = (0..1000).map(|n| format!("h{n}.test")).collect();
    assert_eq!(targets(&many, &json!(names)).len(), TARGETS);
}

#[test]
fn a_mark_that_is_none_is_refused() {
    let schema = json!({ "properties": { "host": {"x-lapwing-target": "hostname"} } });
    let why = Map::read(&schema).unwrap_err();
    assert!(
        why.contains("`x-lapwing-target` is \"hostname\"; expected \"host\""),
        "{why}"
    );
}

#[test]
fn fields_are_known_by_their_path() {
    let map = Map::read(&json!({
        "properties": {
            "login": { "$ref": "#/$defs/login" },
            "servers": { "type": "array", "items": { "properties": { "host": {} } } },
            "headers": { "additionalProperties": { "type": "string" } },
        },
        "$defs": { "login": { "properties": { "password": {} } } },
    }))
    .unwrap();
    for path in [
        "",
        "login",
        "login.password",
        "servers.host",
        "servers.0.host",
        "headers.any",
    ] {
        assert!(map.has(path), "{path}");
    }
    for path in ["logn", "login.pasword", "login.password.deeper"] {
        assert!(!map.has(path), "{path}");
    }
}

#[test]
fn a_schema_has_the_fields_it_names_or_lets_be() {
    let has = |rest: Value, path: &str| {
        let schema = json!({ "type": "object", "properties": { "host": { "type": "string" } }, "additionalProperties": rest });
        Map::read(&schema).unwrap().has(path)
    };
    for (rest, other) in [
        (json!(false), false),
        (json!(true), true),
        (json!({ "type": "string" }), true),
    ] {
        assert!(has(rest.clone(), "host"));
        assert_eq!(has(rest, "hots"), other);
    }
}
