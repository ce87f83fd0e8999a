// SPDX-License-Identifier: Apache-2.0
//! What of the crate needs no host: bodies, events that follow, errors.
use serde::Deserialize;
use weir::sql::{Rows, SqlErrorKind, Value};
use weir::{BodyError, Error, Event, OrReject, Payload, reject, retry};

fn event(data: Option<Payload>) -> Event {
    Event {
        specversion: "1.0".into(),
        ty: "com.example.cause".into(),
        source: "/store".into(),
        id: "key@7".into(),
        data,
        datacontenttype: Some("text/plain".into()),
        dataschema: Some("https://example.com/schema".into()),
        subject: Some("key".into()),
        time: Some("2026-01-01T00:00:00Z".into()),
        extensions: vec![("attempt".into(), "3".into())],
    }
}

fn text(text: &str) -> Event {
    event(Some(Payload::Text(text.into())))
}

fn binary(bytes: &[u8]) -> Event {
    event(Some(Payload::Binary(bytes.into())))
}

#[test]
fn a_body_is_bytes_and_text_whatever_its_case() {
    for event in [text("grüße"), binary("grüße".as_bytes())] {
        assert_eq!(event.bytes(), "grüße".as_bytes());
        assert_eq!(event.text().unwrap(), "grüße");
    }
    assert_eq!(event(None).bytes(), b"");
    assert_eq!(event(None).text().unwrap(), "");
    assert!(matches!(binary(b"\xff").text(), Err(BodyError::NotUtf8(_))));
}

#[derive(Debug, Deserialize, PartialEq)]
struct Order<'a> {
    item: &'a str,
}

#[test]
fn a_body_is_json() {
    for event in [text("{\"item\":\"pen\"}"), binary(b"{\"item\":\"pen\"}")] {
        assert_eq!(event.json::<Order>().unwrap(), Order { item: "pen" });
    }
    for event in [text("{}"), text("pen"), binary(b"\xff"), event(None)] {
        assert!(matches!(event.json::<Order>(), Err(BodyError::NotJson(_))));
    }
}

#[test]
fn an_event_follows_from_another() {
    let cause = text("body");
    let following = cause.follow("com.example.effect");
    assert_eq!(following.ty, "com.example.effect");
    assert_eq!(following.id, "key@7/com.example.effect");
    assert_eq!(following.source, "/store");
    assert_eq!(following.subject.as_deref(), Some("key"));
    assert!(following.data.is_none() && following.datacontenttype.is_none());
    assert!(following.dataschema.is_none() && following.time.is_none());
    assert!(following.extensions.is_empty());
    assert_eq!(cause.follow("com.example.effect").id, following.id);
}

#[test]
fn what_an_event_is_given() {
    let event = text("")
        .follow("t")
        .with_json(&[1, 2])
        .unwrap()
        .with_subject("other");
    assert_eq!(event.text().unwrap(), "[1,2]");
    assert_eq!(event.datacontenttype.as_deref(), Some("application/json"));
    assert_eq!(event.subject.as_deref(), Some("other"));
    let event = event.with_bytes([0, 255]).with_content_type("image/png");
    assert!(matches!(&event.data, Some(Payload::Binary(bytes)) if bytes == &[0, 255]));
    assert_eq!(event.datacontenttype.as_deref(), Some("image/png"));
    let event = event
        .with_extension("a", "1")
        .with_extension("b", "2")
        .with_extension("a", "3");
    assert_eq!(
        (event.extension("a"), event.extension("b")),
        (Some("3"), Some("2"))
    );
    assert_eq!(event.extensions.len(), 2);
}

#[test]
fn attempts_are_counted() {
    assert_eq!(text("").attempt(), 3);
    assert_eq!(text("").follow("t").attempt(), 1);
    assert_eq!(
        text("")
            .follow("t")
            .with_extension("attempt", "many")
            .attempt(),
        1
    );
}

/// What `?` makes of it.
fn question_mark(error: impl Into<Error>) -> Error {
    error.into()
}

#[test]
fn any_error_is_a_retry_with_its_causes() {
    let io = || std::io::Error::other("the disk is full");
    for (error, reason) in [
        (question_mark(io()), "the disk is full"),
        (question_mark("a text"), "a text"),
        (question_mark(String::from("a string")), "a string"),
        (
            question_mark(anyhow::Error::new(io()).context("writing")),
            "writing: the disk is full",
        ),
        (retry("later"), "later"),
    ] {
        assert!(!error.is_rejection());
        assert_eq!(error.to_string(), reason);
    }
}

#[test]
fn what_stays_wrong_is_a_rejection() {
    let bad = || text("pen").json::<Order>().unwrap_err();
    for error in [
        reject("never"),
        question_mark(reject("never")),
        question_mark(bad()),
        question_mark(anyhow::Error::new(bad()).context("reading the order")),
        "x".parse::<u8>().or_reject().unwrap_err(),
        Err::<(), _>(retry("later")).or_reject().unwrap_err(),
    ] {
        assert!(error.is_rejection(), "{error:?}");
    }
    let reason = question_mark(bad()).to_string();
    assert!(
        reason.starts_with("the body is not the JSON that is wanted: "),
        "{reason}"
    );
}

fn rows() -> Rows {
    Rows::new(
        vec!["id".into(), "text".into(), "id".into()],
        vec![
            Value::Integer(1),
            Value::Text("grüße".into()),
            Value::Null,
            Value::Integer(2),
            Value::Null,
            Value::Null,
        ],
    )
}

#[test]
fn rows_are_read_by_their_columns_names() {
    let rows = rows();
    assert_eq!((rows.len(), rows.is_empty()), (2, false));
    assert_eq!(rows.columns()[1], "text");
    let ids: Vec<i64> = rows.iter().map(|row| row.get("id").unwrap()).collect();
    assert_eq!(ids, [1, 2]); // the first column of that name
    let texts: Vec<Option<&str>> = (&rows)
        .into_iter()
        .map(|row| row.get("text").unwrap())
        .collect();
    assert_eq!(texts, [Some("grüße"), None]);
    let first = rows.first().unwrap();
    assert_eq!(first.values().len(), 3);
    assert!(matches!(first.value("text"), Some(Value::Text(_))));
    assert!(first.value("none").is_none());
    let none = Rows::new(vec!["id".into()], vec![]);
    assert!(none.is_empty() && none.first().is_none());
    assert!(Rows::new(vec![], vec![]).iter().next().is_none());
}

#[test]
fn a_value_of_another_kind_is_an_error() {
    let rows = rows();
    let second = rows.iter().nth(1).unwrap();
    for (error, told) in [
        (second.get::<i64>("text").unwrap_err(), "it is NULL"),
        (second.get::<&str>("id").unwrap_err(), "it is an integer"),
        (second.get::<bool>("id").unwrap_err(), "it is an integer"),
        (second.get::<i64>("none").unwrap_err(), "of that name"),
    ] {
        assert_eq!(error.kind(), SqlErrorKind::BadValue);
        assert!(error.to_string().ends_with(told), "{error}");
    }
}

fn one(value: impl Into<Value>) -> Rows {
    Rows::new(vec!["c".into()], vec![value.into()])
}

fn read<T: for<'a> weir::sql::FromValue<'a>>(value: impl Into<Value>) -> Option<T> {
    one(value).first().unwrap().get("c").ok()
}

#[test]
fn values_are_made_of_what_is_like_them_and_read_again() {
    assert_eq!(read::<bool>(true), Some(true));
    assert_eq!(read::<bool>(1), Some(true));
    assert_eq!(read::<i64>(-7), Some(-7));
    assert_eq!(read::<i64>(u32::MAX), Some(i64::from(u32::MAX)));
    assert_eq!(read::<i64>(2.0), None);
    assert_eq!(read::<f64>(0.5), Some(0.5));
    assert_eq!(read::<f64>(1_i64 << 53), Some(9_007_199_254_740_992.0));
    assert_eq!(read::<f64>((1_i64 << 53) + 1), None);
    assert_eq!(read::<String>("text").as_deref(), Some("text"));
    assert_eq!(
        read::<String>(Value::Decimal("0.10".into())).as_deref(),
        Some("0.10")
    );
    assert_eq!(read::<Vec<u8>>(b"\xff".as_slice()), Some(vec![255]));
    assert_eq!(read::<Vec<u8>>("a"), Some(vec![97]));
    assert_eq!(read::<String>(vec![97]), None);
    assert_eq!(read::<Option<i64>>(None::<i64>), Some(None));
    assert_eq!(read::<Option<i64>>(Some(7)), Some(Some(7)));
    assert!(
        matches!(Value::from(serde_json::json!({"a": 1})), Value::Json(text) if text == r#"{"a":1}"#)
    );
    let json: Vec<i32> = one(serde_json::json!([1, 2]))
        .first()
        .unwrap()
        .json("c")
        .unwrap();
    assert_eq!(json, [1, 2]);
    assert!(one("{").first().unwrap().json::<i32>("c").is_err());
}
