// SPDX-License-Identifier: Apache-2.0
//
//! typed GUEST.component.wasm ROUNDS BATCH_MS
//! typed ask GUEST.component.wasm COMPILED BATCH_MS
//!
//! The handler called through the bindings that Wasmtime makes from the WIT: what a host in Rust
//! does, and what bench/call.c and bench/language.c are compared with.
//!
//! In the first form it prints lines as call.c does, "warm 4096 none typed 1234.5": instances, bytes
//! of body, answer, contender, nanoseconds of CPU time for one event, once a round.
//!
//! In the second it is asked as language.c is: first comes the size of the linear memory of an
//! instance that has handled an event of 100 bytes, "memory 131072"; then each line "warm 100" is
//! answered with "typed 1234.5". What was compiled is kept in the file COMPILED, which is nobody
//! else's: large components take half a minute. What a component imports and does not call need not
//! be there: calling it traps.
//!
//! Two contenders, with the settings of weir's engine that matter to both, the pooling allocator
//! and epochs:
//!   typed  as Wasmtime comes, with the support for concurrent calls on, and the event made for the
//!          call as the struct of owned strings that the bindings ask for
//!   tuned  the least that the bindings can cost: that support off, one event made beforehand and
//!          lent to every call
//! A returned event is looked at and dropped.

use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::path::Path;
use std::time::{Duration, Instant};
use wasmtime::component::{bindgen, Component, Linker};
use wasmtime::{
    Config, Engine, Error, InstanceAllocationStrategy, PoolingAllocationConfig, ResourceLimiter,
    Result, Store,
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
const RANDOM_BYTES_MAX: u64 = 1 << 16; // of one call
const CALLS_MAX: u64 = 1 << 28; // of one batch
const ROUNDS_MAX: u32 = 1000;
const BATCH_MS_MAX: u64 = 10_000;

/// How large the linear memories of a store are, where it is told of them.
#[derive(Default)]
struct Memory {
    bytes: usize,
}

impl ResourceLimiter for Memory {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> Result<bool> {
        self.bytes += desired - current;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        _desired: usize,
        _maximum: Option<usize>,
    ) -> Result<bool> {
        Ok(true)
    }
}

/// The component of a file, or of what was compiled from it before.
fn load(engine: &Engine, path: &str, compiled: Option<&str>) -> Result<Component> {
    if let Some(compiled) = compiled.filter(|compiled| Path::new(compiled).exists()) {
        // SAFETY: this program has written it, into a folder of its user.
        return unsafe { Component::deserialize_file(engine, compiled) };
    }
    let component = Component::from_file(engine, path)?;
    if let Some(compiled) = compiled {
        let new = format!("{compiled}.new");
        std::fs::write(&new, component.serialize()?)?;
        std::fs::rename(&new, compiled)?;
    }
    Ok(component)
}

/// What the guests of JavaScript and Python call of WASI when they handle an event.
fn define_wasi(linker: &mut Linker<Memory>, component: &Component, engine: &Engine) -> Result<()> {
    let begin = Instant::now();
    for (name, _) in component.component_type().imports(engine) {
        match name.split('@').next() {
            Some("wasi:clocks/monotonic-clock") => {
                linker
                    .instance(name)?
                    .func_wrap("now", move |_, ()| Ok((begin.elapsed().as_nanos() as u64,)))?;
            }
            // Python seeds its generator with them when it starts; zeroes do for that here.
            Some("wasi:random/random") => {
                linker
                    .instance(name)?
                    .func_wrap("get-random-bytes", |_, (count,): (u64,)| {
                        Ok((vec![0u8; count.min(RANDOM_BYTES_MAX) as usize],))
                    })?;
            }
            Some("wasi:cli/environment") => {
                let mut environment = linker.instance(name)?;
                environment.func_wrap("get-environment", |_, ()| {
                    Ok((Vec::<(String, String)>::new(),))
                })?;
                environment.func_wrap("get-arguments", |_, ()| Ok((Vec::<String>::new(),)))?;
            }
            _ => {}
        }
    }
    Ok(())
}

struct Host {
    engine: Engine,
    pre: HandlerPre<Memory>,
}

impl Host {
    fn new(path: &str, compiled: Option<&str>, is_tuned: bool) -> Result<Host> {
        let mut pool = PoolingAllocationConfig::default();
        pool.linear_memory_keep_resident(MEMORY_KEPT_BYTES);
        pool.table_keep_resident(TABLE_KEPT_BYTES);
        let mut config = Config::new();
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        config.epoch_interruption(true);
        config.concurrency_support(!is_tuned);
        let engine = Engine::new(&config)?;

        let component = load(&engine, path, compiled)?;
        let mut linker = Linker::new(&engine);
        define_wasi(&mut linker, &component, &engine)?;
        linker.define_unknown_imports_as_traps(&component)?;
        let pre = HandlerPre::new(linker.instantiate_pre(&component)?)?;
        Ok(Host { engine, pre })
    }

    fn instance(&self) -> Result<(Store<Memory>, Handler)> {
        self.instance_in(Store::new(&self.engine, Memory::default()))
    }

    fn instance_in(&self, mut store: Store<Memory>) -> Result<(Store<Memory>, Handler)> {
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

fn call(store: &mut Store<Memory>, handler: &Handler, event: &Event) -> Result<()> {
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
    kept: (Store<Memory>, Handler),
}

impl Contender {
    fn new(path: &str, compiled: Option<&str>, is_tuned: bool) -> Result<Contender> {
        let host = Host::new(path, compiled, is_tuned)?;
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

fn text_body() -> String {
    "x".repeat(BODY_BYTES_MAX)
}

fn run(path: &str, rounds: u32, batch: Duration) -> Result<()> {
    let body = text_body();
    let mut contenders = [
        Contender::new(path, None, false)?,
        Contender::new(path, None, true)?,
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

/// The linear memory of an instance that has handled an event.
fn memory_bytes(host: &Host, body: &str) -> Result<usize> {
    let case = Case {
        is_fresh: true,
        body_bytes: BODY_BYTES[0],
        is_returned: true,
    };
    let mut store = Store::new(&host.engine, Memory::default());
    store.limiter(|memory| memory);
    let (mut store, handler) = host.instance_in(store)?;
    call(&mut store, &handler, &case.event(body))?;
    Ok(store.data().bytes)
}

/// The case that a question means: "warm 100".
fn case_of(question: &str) -> Result<Case> {
    let (instances, size) = question.split_once(' ').unwrap_or((question, ""));
    let body_bytes = size.parse()?;
    if !["warm", "fresh"].contains(&instances) || body_bytes > BODY_BYTES_MAX {
        return Err(Error::msg(format!("not a question: {question}")));
    }
    Ok(Case {
        is_fresh: instances == "fresh",
        body_bytes,
        is_returned: true,
    })
}

fn answer_questions(path: &str, compiled: &str, batch: Duration) -> Result<()> {
    let body = text_body();
    let mut contender = Contender::new(path, Some(compiled), false)?;
    println!("memory {}", memory_bytes(&contender.host, &body)?);
    let mut calls: HashMap<String, u64> = HashMap::new();
    for question in std::io::stdin().lock().lines() {
        let question = question?;
        let case = case_of(&question)?;
        let calls = match calls.get(&question) {
            Some(&calls) => calls,
            None => {
                let fitting = contender.calibrate(&case, &body, batch)?;
                *calls.entry(question).or_insert(fitting)
            }
        };
        let spent = contender.run_batch(&case, &body, calls)?;
        println!("typed {:.1}", spent.as_nanos() as f64 / calls as f64);
        std::io::stdout().flush()?;
    }
    Ok(())
}

fn batch_of(argument: &str) -> Result<Duration> {
    let batch_ms: u64 = argument.parse()?;
    if !(1..=BATCH_MS_MAX).contains(&batch_ms) {
        return Err(Error::msg("the length of a batch is out of bounds"));
    }
    Ok(Duration::from_millis(batch_ms))
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["ask", path, compiled, batch_ms] => answer_questions(path, compiled, batch_of(batch_ms)?),
        [path, rounds, batch_ms] => {
            let rounds: u32 = rounds.parse()?;
            if !(1..=ROUNDS_MAX).contains(&rounds) {
                return Err(Error::msg("the number of rounds is out of bounds"));
            }
            run(path, rounds, batch_of(batch_ms)?)
        }
        _ => Err(Error::msg(
            "usage: typed GUEST.component.wasm ROUNDS BATCH_MS\n       \
             typed ask GUEST.component.wasm COMPILED BATCH_MS",
        )),
    }
}
