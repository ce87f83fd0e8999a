// SPDX-License-Identifier: Apache-2.0
//! The seed's program in Rust. `main` watches two keys of a store and lets the host deliver what
//! changes; the handler says what it got and returns it. The two run in different instances of this
//! module.
use anyhow::Result;
use exports::weir::reactive::event_handler::{Event, Guest};
use weir::reactive::events::Events;
use weir::reactive::resources::{open, watch};
use weir::reactive::types::Payload;

wit_bindgen::generate!({
    path: "../../../wit",
    inline: "
        package example:seed;
        world seed {
            import weir:reactive/resources@0.1.0;
            import weir:reactive/events@0.1.0;
            export weir:reactive/event-handler@0.1.0;
        }
    ",
    generate_all,
});

fn main() -> Result<()> {
    let rd = open("my-container")?;

    let events = Events::get()?;
    events
        .listen(&watch(&rd, "my-key1")?)?
        .listen(&watch(&rd, "my-key2")?)?
        .exec(0)?;
    Ok(())
}

struct EventHandler;

impl Guest for EventHandler {
    fn handle_event(event: Event) -> Result<Option<Event>, String> {
        println!("source: {}", event.source);
        println!("type:   {}", event.ty);
        if let Some(Payload::Text(text)) = &event.data {
            println!("data:   {}", text.trim_end());
        }
        println!(
            "this event {} has been handled",
            event.subject.as_deref().unwrap_or(&event.id)
        );
        Ok(Some(event))
    }
}

export!(EventHandler);
