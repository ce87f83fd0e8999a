// SPDX-License-Identifier: Apache-2.0
//! Does what the event's subject says with what weir gives beside events, by sdk/rust, and returns
//! what came of it. Proves: the SDK's calls reach the interfaces that they are for. services.js and
//! services.py do the same, and return the same bytes.
use serde_json::json;
use weir::sql::{Database, SqlErrorKind, Value};
use weir::{Event, Result, Store, config, http, log, messaging, reject};

#[weir::handler]
fn on_event(event: Event) -> Result<Event> {
    let body = event.text()?;
    let answer = match event.subject.as_deref().unwrap_or_default() {
        "store" => use_store()?,
        "sql" => use_sql()?,
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

fn use_sql() -> Result<serde_json::Value> {
    let shop = Database::new("shop");
    let changed = shop.execute(
        "insert into t values (?1, ?2, ?3, ?4, ?5)",
        &[
            1.into(),
            "größe".into(),
            0.5.into(),
            Value::Null,
            vec![0, 255].into(),
        ],
    )?;
    let mut rows = Vec::new();
    for row in &shop.query("select * from t where id = ?1", &[1.into()])? {
        rows.push(json!({
            "id": row.get::<i64>("id")?,
            "name": row.get::<&str>("name")?,
            "size": row.get::<f64>("size")?,
            "gone": row.get::<Option<i64>>("gone")?,
            "bytes": row.get::<&[u8]>("bytes")?,
        }));
    }
    let kind = match shop.query("select nothing from", &[]) {
        Err(error) if error.kind() == SqlErrorKind::Invalid => "invalid",
        _ => "",
    };
    Ok(json!({"changed": changed, "kind": kind, "rows": rows}))
}
