// SPDX-License-Identifier: Apache-2.0
//! Does what the event's subject says, by sdk/rust. Proves: a body is JSON, text and bytes whatever
//! its case, events that follow are what the SDK says, and errors become retries and rejections.
//! sdk.js and sdk.py do the same, and return the same bytes.
use anyhow::Context;
use serde::{Deserialize, Serialize};
use weir::{Event, OrReject, Result, reject};

#[derive(Deserialize)]
struct Person {
    name: String,
    numbers: Vec<i64>,
}

#[derive(Serialize)]
struct Greeting {
    greeting: String,
    count: usize,
    sum: i64,
}

#[weir::handler]
fn on_event(event: Event) -> Result<Option<Event>> {
    let following = match event.subject.as_deref().unwrap_or_default() {
        "json" => {
            let person: Person = event.json()?;
            let greeting = Greeting {
                greeting: format!("hello {}", person.name),
                count: person.numbers.len(),
                sum: person.numbers.iter().sum(),
            };
            event.follow("dev.weir.test.greeted").with_json(&greeting)?
        }
        "text" => event
            .follow("dev.weir.test.text")
            .with_text(event.text()?.to_uppercase())
            .with_content_type("text/plain")
            .with_extension("attemptseen", event.attempt().to_string()),
        "bytes" => {
            let reversed: Vec<u8> = event.bytes().iter().rev().copied().collect();
            event
                .follow("dev.weir.test.bytes")
                .with_bytes(reversed)
                .with_subject("reversed")
        }
        "none" => return Ok(None),
        "retry" => return Err("not now".into()),
        // A cause and what was being done.
        "number" => {
            let number: u32 = event.text()?.parse().context("the body is no number")?;
            event
                .follow("dev.weir.test.number")
                .with_text(number.to_string())
        }
        "number-or-reject" => {
            let number: u32 = event.text()?.parse().or_reject()?;
            event
                .follow("dev.weir.test.number")
                .with_text(number.to_string())
        }
        other => return Err(reject(format!("there is no deed {other}"))),
    };
    Ok(Some(following))
}

#[weir::handler("on-order")]
fn on_order(event: Event) -> anyhow::Result<()> {
    println!("on-order got {}", event.text()?);
    anyhow::bail!("no orders now")
}

#[weir::handler("on-order-or-reject")]
fn on_order_or_reject(event: Event) -> Result<Event> {
    println!("on-order-or-reject got {}", event.text()?);
    Err(reject("no orders"))
}
