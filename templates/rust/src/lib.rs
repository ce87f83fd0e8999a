//! Called for each order that is put into the store: returns its receipt, which weir puts into
//! `out`.
use serde::{Deserialize, Serialize};
use weir::{Event, Result, reject};

#[derive(Deserialize, Serialize)]
struct Order {
    item: String,
    amount: u32,
}

#[derive(Serialize)]
struct Receipt<'a> {
    receipt: &'a str,
    order: Order,
}

#[weir::handler]
fn on_order(event: Event) -> Result<Option<Event>> {
    if event.data.is_none() {
        return Ok(None); // the order was removed: nothing follows from that
    }
    let key = event.subject.as_deref().unwrap_or_default();
    let Some(number) = key.strip_prefix("orders/") else {
        return Err(reject("its key does not begin with orders/"));
    };
    let order: Order = event.json()?; // what is no order is rejected
    println!("order {number}: {} of {}", order.amount, order.item);
    let receipt = event
        .follow("com.example.receipt")
        .with_subject(format!("receipts/{number}"))
        .with_json(&Receipt {
            receipt: number,
            order,
        })?;
    Ok(Some(receipt))
}
