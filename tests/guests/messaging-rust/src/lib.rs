// SPDX-License-Identifier: Apache-2.0
//! Takes messages by `wasi:messaging`, and knows nothing of weir: each is sent on to `out`, under its
//! own topic, with its content type and metadata, and with `forwarded` beside them. The body `fail`
//! is answered with an error. messaging.js and messaging.py do the same.
use exports::wasi::messaging::incoming_handler::Guest;
use wasi::logging::logging::{Level, log};
use wasi::messaging::producer::send;
use wasi::messaging::types::{Client, Error, Message};

wit_bindgen::generate!({
    path: ["../../../wit", "../wit"],
    world: "weir:test/standard-messaging",
    generate_all,
});

struct Handler;

impl Guest for Handler {
    fn handle(message: Message) -> Result<(), Error> {
        let data = message.data();
        if data == b"fail" {
            return Err(Error::Other("the message says so".to_string()));
        }
        let topic = message.topic().unwrap_or_default();
        let on = Message::new(&data);
        if let Some(content_type) = message.content_type() {
            on.set_content_type(&content_type);
        }
        for (name, value) in message.metadata().unwrap_or_default() {
            on.add_metadata(&name, &value);
        }
        on.add_metadata("forwarded", "yes");
        let out = Client::connect("out")?;
        send(&out, &topic, on)?;
        out.disconnect()?;
        log(
            Level::Info,
            "forward",
            &format!("{topic}: {} bytes", data.len()),
        );
        Ok(())
    }
}

export!(Handler);
