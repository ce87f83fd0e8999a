// SPDX-License-Identifier: Apache-2.0
//! What of the crate needs no host: bodies, events that follow, errors.
use serde::Deserialize;
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
