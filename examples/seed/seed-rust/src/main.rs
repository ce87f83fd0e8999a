// SPDX-License-Identifier: Apache-2.0
//! The seed's program in Rust. `main` watches two keys of a store and lets the host deliver what
//! changes; the handler says what it got and returns it. The two run in different instances of this
//! module.
use anyhow::Result;
use weir::event_handler::{self, Event};
use weir::events::Events;
use weir::resources::{open, watch};

fn main() -> Result<()> {
    let rd = open("my-container")?;

    let events = Events::get()?;
    events
        .listen(&watch(&rd, "my-key1")?)?
        .listen(&watch(&rd, "my-key2")?)?
        .exec(0)?;
    Ok(())
}

pub struct EventHandler {}

impl event_handler::EventHandler for EventHandler {
    fn handle_event(event: Event) -> weir::Result<Option<Event>> {
        println!("source: {}", event.source);
        println!("type:   {}", event.ty);
        println!("data:   {}", event.text()?.trim_end());
        println!(
            "this event {} has been handled",
            event.subject.as_deref().unwrap_or(&event.id)
        );
        Ok(Some(event))
    }
}

weir::export!(EventHandler);
