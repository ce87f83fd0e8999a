//! What guests are made with besides a compiler: C bindings out of WIT, as wit-bindgen's C generator
//! makes them with its default options, and a component out of a core module, as `wasm-tools
//! component embed` and `component new` do.

use anyhow::{bail, Context, Result};
use std::path::{Path, PathBuf};
use wasi_preview1_component_adapter_provider as adapter;
use wit_bindgen_core::{
    wit_parser::{PackageId, Resolve},
    Files,
};
use wit_component::{embed_component_metadata, ComponentEncoder, StringEncoding};

const USAGE: &str = "usage:
  weir-wit bindings WORLD OUT_FOLDER WIT...
      makes WORLD.h, WORLD.c and WORLD_component_type.o
  weir-wit component IN.wasm OUT.wasm [WORLD WIT...]
      makes a component of a core module. Without WORLD the module has to say by itself what it is,
      as one does that was made with wit-bindgen.

WIT is a file or a folder. WORLD is of the last one, which may use the packages of those before it.";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["bindings", world, out_dir, wit @ ..] if !wit.is_empty() => {
            bindings(wit, world, Path::new(out_dir))
        }
        ["component", input, output] => component(input, output, None),
        ["component", input, output, world, wit @ ..] if !wit.is_empty() => {
            component(input, output, Some((world, wit)))
        }
        _ => bail!(USAGE),
    }
}

/// Reads all of `wit`, and returns the package of the last.
fn read_wit(wit: &[&str]) -> Result<(Resolve, PackageId)> {
    let mut resolve = Resolve::default();
    let mut last = None;
    for path in wit {
        let (package, _) = resolve
            .push_path(Path::new(path))
            .with_context(|| format!("{path} cannot be read as WIT"))?;
        last = Some(package);
    }
    Ok((resolve, last.context("no WIT is given")?))
}

fn bindings(wit: &[&str], world: &str, out_dir: &Path) -> Result<()> {
    let (mut resolve, package) = read_wit(wit)?;
    let world = resolve.select_world(&[package], Some(world))?;

    let mut files = Files::default();
    wit_bindgen_c::Opts::default()
        .build()
        .generate(&mut resolve, world, &mut files)?;

    for (name, contents) in files.iter() {
        let path: PathBuf = out_dir.join(name);
        std::fs::write(&path, contents).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

fn component(input: &str, output: &str, world: Option<(&str, &[&str])>) -> Result<()> {
    let mut module = std::fs::read(input).with_context(|| format!("reading {input}"))?;
    if let Some((name, wit)) = world {
        let (resolve, package) = read_wit(wit)?;
        let world = resolve.select_world(&[package], Some(name))?;
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false)?;
    }

    // A command has a main, which its component exports as `wasi:cli/run`.
    let adapter = if exports(&module, "_start")? {
        adapter::WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER
    } else {
        adapter::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER
    };
    let component = ComponentEncoder::default()
        .validate(true)
        .module(&module)
        .and_then(|encoder| encoder.adapter(adapter::WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, adapter))
        .and_then(|encoder| encoder.encode())
        .with_context(|| format!("{input} cannot be made a component"))?;
    std::fs::write(output, component).with_context(|| format!("writing {output}"))
}

/// Whether the module has an export of that name.
fn exports(module: &[u8], name: &str) -> Result<bool> {
    for payload in wasmparser::Parser::new(0).parse_all(module) {
        if let wasmparser::Payload::ExportSection(section) = payload? {
            for export in section {
                if export?.name == name {
                    return Ok(true);
                }
            }
        }
    }
    Ok(false)
}
