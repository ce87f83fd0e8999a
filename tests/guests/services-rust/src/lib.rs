// SPDX-License-Identifier: Apache-2.0
//! Does what the event's subject says with what weir gives beside events, by sdk/rust, and returns
//! what came of it. Proves: the SDK's calls reach the interfaces that they are for. services.js and
//! services.py do the same, and return the same bytes.
use serde_json::json;
use weir::{Event, Result, Store, config, http, log, messaging, reject};

#[weir::handler]
fn on_event(event: Event) -> Result<Event> {
    let body = event.text()?;
    let answer = match event.subject.as_deref().unwrap_or_default() {
        "store" => use_store()?,
        "config" => json!({"greeting": config::get("greeting")?, "none": config::get("none")?}),
        "log" => {
            log::info(format!("logged {body}"));
            json!(null)
        }
        "send" => {
            let message = messaging::Message::new(body)
                .with_content_type("text/plain")
                .with_type("dev.weir.test.sent");
            messaging::Producer::connect("out")?.send("sent", message)?;
            json!(null)
        }
        "http" => {
            let response = http::post(body).header("x-test", "1").text("ping").send()?;
            json!({"status": response.status(), "body": response.text()?})
        }
        other => return Err(reject(format!("there is no deed {other}"))),
    };
    Ok(event.follow("dev.weir.test.done").with_json(&answer)?)
}

fn use_store() -> Result<serde_json::Value> {
    let copy = Store::open("copy")?;
    copy.set("a", b"one")?;
    copy.set_json("b", &json!({"two": 2}))?;
    copy.update("a", |value| {
        Ok::<_, weir::store::StoreError>([value.unwrap_or_default(), b"!".to_vec()].concat())
    })?;
    copy.set_many(&[("c", b"3"), ("d", b"4")])?;
    copy.delete_many(&["c"])?;
    let keys: Vec<String> = copy.keys().collect::<std::result::Result<_, _>>()?;
    let many = copy.get_many(&["a", "none"])?;
    copy.delete("d")?;
    Ok(json!({
        "a": copy.get_text("a")?,
        "b": copy.get_json::<serde_json::Value>("b")?,
        "exists": [copy.exists("a")?, copy.exists("d")?],
        "keys": keys,
        "many": many.iter().map(|value| value.as_ref().map(Vec::len)).collect::<Vec<_>>(),
        "none": copy.get("none")?,
        "count": copy.increment("count", 2)?,
    }))
}
