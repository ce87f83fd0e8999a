//! Makes a guest's C bindings from WIT: NAME.h, NAME.c and NAME_component_type.o of one world.
//! It is wit-bindgen's C generator with its default options, and nothing else.

use anyhow::{bail, Context, Result};
use std::path::{Path, PathBuf};
use wit_bindgen_core::{wit_parser::Resolve, Files};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [wit, world, out_dir] = arguments.as_slice() else {
        bail!("usage: weir-bindings WIT_FILE_OR_FOLDER WORLD OUT_FOLDER");
    };

    let mut resolve = Resolve::default();
    let (package, _) = resolve
        .push_path(Path::new(wit))
        .with_context(|| format!("{wit} cannot be read as WIT"))?;
    let world = resolve.select_world(&[package], Some(world))?;

    let mut files = Files::default();
    wit_bindgen_c::Opts::default()
        .build()
        .generate(&mut resolve, world, &mut files)?;

    for (name, contents) in files.iter() {
        let path: PathBuf = Path::new(out_dir).join(name);
        std::fs::write(&path, contents).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}
