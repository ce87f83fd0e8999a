// SPDX-License-Identifier: Apache-2.0
//! What bench/guest.c does, in Rust: an event with a subject is returned as it came, one without is
//! only taken.
use exports::weir::reactive::event_handler::{Event, Guest};

wit_bindgen::generate!({
    path: "../../wit",
    world: "handler",
    generate_all,
});

struct EventHandler;

impl Guest for EventHandler {
    fn handle_event(event: Event) -> Result<Option<Event>, String> {
        Ok(event.subject.is_some().then_some(event))
    }
}

export!(EventHandler);
