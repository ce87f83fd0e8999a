// SPDX-License-Identifier: Apache-2.0
//
//! typed GUEST.wasm ROUNDS BATCH_MS
//!
//! The handler called through the bindings that Wasmtime makes from the WIT: what a host in Rust
//! does, and what bench/call.c is compared with. The component is made from the same core module.
//! Prints lines of the same form, "warm 4096 none typed 1234.5": instances, bytes of body, answer,
//! contender, nanoseconds of CPU time for one event, once a round.
//!
//! Two contenders, with the settings of weir's engine that matter to both, the pooling allocator
//! and epochs:
//!   typed  as Wasmtime comes, with the support for concurrent calls on, and the event made for the
//!          call as the struct of owned strings that the bindings ask for
//!   tuned  the least that the bindings can cost: that support off, one event made beforehand and
//!          lent to every call
//! A returned event is looked at and dropped.

use std::time::Duration;
use wasmtime::component::{bindgen, Component, Linker};
use wasmtime::{
    Config, Engine, Error, InstanceAllocationStrategy, PoolingAllocationConfig, Result, Store,
};

bindgen!({ path: "../../wit", world: "handler" });

use exports::weir::reactive::event_handler::Event;
use weir::reactive::types::Payload;

const MEMORY_KEPT_BYTES: usize = 256 * 1024;
const TABLE_KEPT_BYTES: usize = 16 * 1024;
/// Nobody advances the epochs here.
const EPOCHS_NEVER: u64 = 1 << 30;

const BODY_BYTES_MAX: usize = 1 << 20;
const BODY_BYTES: [usize; 4] = [100, 4096, 65536, BODY_BYTES_MAX];
const CALLS_MAX: u64 = 1 << 28; // of one batch
const ROUNDS_MAX: u32 = 1000;
const BATCH_MS_MAX: u64 = 10_000;

struct Host {
    engine: Engine,
    pre: HandlerPre<()>,
}

impl Host {
    fn new(module: &[u8], is_tuned: bool) -> Result<Host> {
        let mut pool = PoolingAllocationConfig::default();
        pool.linear_memory_keep_resident(MEMORY_KEPT_BYTES);
        pool.table_keep_resident(TABLE_KEPT_BYTES);
        let mut config = Config::new();
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        config.epoch_interruption(true);
        config.concurrency_support(!is_tuned);
        let engine = Engine::new(&config)?;

        let component = wit_component::ComponentEncoder::default()
            .module(module)
            .and_then(|encoder| encoder.encode())
            .map_err(|error| Error::msg(format!("{error:#}")))?;
        let component = Component::new(&engine, component)?;
        let pre = HandlerPre::new(Linker::new(&engine).instantiate_pre(&component)?)?;
        Ok(Host { engine, pre })
    }

    fn instance(&self) -> Result<(Store<()>, Handler)> {
        let mut store = Store::new(&self.engine, ());
        store.set_epoch_deadline(EPOCHS_NEVER);
        let handler = self.pre.instantiate(&mut store)?;
        Ok((store, handler))
    }
}

struct Case {
    is_fresh: bool,
    body_bytes: usize,
    is_returned: bool,
}

impl Case {
    fn all() -> impl Iterator<Item = Case> {
        [false, true].into_iter().flat_map(|is_fresh| {
            BODY_BYTES.into_iter().flat_map(move |body_bytes| {
                [false, true].map(|is_returned| Case {
                    is_fresh,
                    body_bytes,
                    is_returned,
                })
            })
        })
    }

    fn name(&self) -> String {
        let instances = if self.is_fresh { "fresh" } else { "warm" };
        let answer = if self.is_returned { "event" } else { "none" };
        format!("{instances} {} {answer}", self.body_bytes)
    }

    /// The event of bench/call.c. The guest returns it if it has a subject.
    fn event(&self, body: &str) -> Event {
        Event {
            specversion: "1.0".into(),
            ty: "dev.weir.keyvalue.set".into(),
            source: "/my-container".into(),
            id: "0000000000000042".into(),
            data: Some(Payload::Text(body[..self.body_bytes].into())),
            datacontenttype: Some("application/json".into()),
            dataschema: None,
            subject: self.is_returned.then(|| "my-key1".into()),
            time: Some("2026-11-22T14:00:00.000000Z".into()),
            extensions: vec![("revision".into(), "00000000000000000042".into())],
        }
    }
}

fn call(store: &mut Store<()>, handler: &Handler, event: &Event) -> Result<()> {
    let returned = handler
        .weir_reactive_event_handler()
        .call_handle_event(store, event)?
        .map_err(Error::msg)?;
    let size = |event: &Event| match &event.data {
        Some(Payload::Text(text)) => text.len(),
        _ => 0,
    };
    let expected = event.subject.as_ref().map(|_| size(event));
    if returned.as_ref().map(size) != expected {
        return Err(Error::msg("the handler answered something else"));
    }
    Ok(())
}

/// CPU time of this thread.
fn cpu_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a timespec of ours, and every thread has this clock.
    let status = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(status, 0, "the thread's clock");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// One contender in one case, with what a call takes.
struct Contender {
    name: &'static str,
    host: Host,
    is_tuned: bool,
    kept: (Store<()>, Handler),
}

impl Contender {
    fn new(module: &[u8], is_tuned: bool) -> Result<Contender> {
        let host = Host::new(module, is_tuned)?;
        let kept = host.instance()?;
        let name = if is_tuned { "tuned" } else { "typed" };
        Ok(Contender {
            name,
            host,
            is_tuned,
            kept,
        })
    }

    /// Calls the handler so often; returns the time of all.
    fn run_batch(&mut self, case: &Case, body: &str, calls: u64) -> Result<Duration> {
        let event = case.event(body);
        let begin = cpu_time();
        for _ in 0..calls {
            let made = (!self.is_tuned).then(|| case.event(body));
            let event = made.as_ref().unwrap_or(&event);
            if case.is_fresh {
                let (mut store, handler) = self.host.instance()?;
                call(&mut store, &handler, event)?;
            } else {
                call(&mut self.kept.0, &self.kept.1, event)?;
            }
        }
        Ok(cpu_time() - begin)
    }

    /// How many calls take about `batch`; they also warm everything up.
    fn calibrate(&mut self, case: &Case, body: &str, batch: Duration) -> Result<u64> {
        let mut calls = 1;
        let mut spent = self.run_batch(case, body, calls)?;
        while spent < batch / 4 && calls < CALLS_MAX / 2 {
            calls *= 2;
            spent = self.run_batch(case, body, calls)?;
        }
        let fitting = calls as f64 * batch.as_secs_f64() / spent.as_secs_f64().max(1e-9);
        Ok((fitting as u64).clamp(1, CALLS_MAX))
    }
}

fn run(module_path: &str, rounds: u32, batch: Duration) -> Result<()> {
    let module = std::fs::read(module_path)?;
    let body = "x".repeat(BODY_BYTES_MAX);
    let mut contenders = [
        Contender::new(&module, false)?,
        Contender::new(&module, true)?,
    ];
    for case in Case::all() {
        let mut calls = Vec::new();
        for contender in &mut contenders {
            calls.push(contender.calibrate(&case, &body, batch)?);
        }
        for _ in 0..rounds {
            for (contender, &calls) in contenders.iter_mut().zip(&calls) {
                let spent = contender.run_batch(&case, &body, calls)?;
                let one_ns = spent.as_nanos() as f64 / calls as f64;
                println!("{} {} {one_ns:.1}", case.name(), contender.name);
            }
        }
    }
    Ok(())
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [module_path, rounds, batch_ms] = arguments.as_slice() else {
        return Err(Error::msg("usage: typed GUEST.wasm ROUNDS BATCH_MS"));
    };
    let rounds: u32 = rounds.parse()?;
    let batch_ms: u64 = batch_ms.parse()?;
    if !(1..=ROUNDS_MAX).contains(&rounds) || !(1..=BATCH_MS_MAX).contains(&batch_ms) {
        return Err(Error::msg(
            "the number of rounds or the length of a batch is out of bounds",
        ));
    }
    run(module_path, rounds, Duration::from_millis(batch_ms))
}
