// SPDX-License-Identifier: Apache-2.0
//! A handler that may reject, in Rust, and one under a name of its own: the body "retry" and
//! "reject" are answered so, with the subject for a reason; any other event is returned. Proves:
//! what wit-bindgen makes of the variant `failure` is what the host reads, in a module without a
//! main.
use exports::weir::reactive::event_handler_or_reject as default;
use weir::reactive::types::Payload;

wit_bindgen::generate!({
    path: "../../../wit",
    inline: "
        package example:reject;
        world reject {
            use weir:reactive/types@0.1.0.{event, failure};
            export weir:reactive/event-handler-or-reject@0.1.0;
            export on-order-or-reject: func(ev: event) -> result<option<event>, failure>;
        }
    ",
    generate_all,
});

struct Handlers;

impl default::Guest for Handlers {
    fn handle_event_or_reject(event: Event) -> Result<Option<Event>, Failure> {
        let subject = event.subject.clone().unwrap_or_default();
        println!("rust got {subject}");
        match &event.data {
            Some(Payload::Text(text)) if text == "retry" => Err(Failure::Retry(subject)),
            Some(Payload::Text(text)) if text == "reject" => Err(Failure::Reject(subject)),
            _ => Ok(Some(event)),
        }
    }
}

impl Guest for Handlers {
    fn on_order_or_reject(event: Event) -> Result<Option<Event>, Failure> {
        Err(Failure::Reject(event.id))
    }
}

export!(Handlers);
