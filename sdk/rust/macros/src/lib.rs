// SPDX-License-Identifier: Apache-2.0
//! The macros of the crate `weir`, which documents them. Each writes a call of wit-bindgen's
//! `generate!`: that wants the path of the WIT as a literal, which depends on where this crate lies.
use proc_macro::{Delimiter, TokenStream, TokenTree};
use std::path::{Path, PathBuf};

/// Where the WIT may be, from the folder of the crate `weir`: beside it in a project of its own,
/// two up in weir's tree.
const WIT_FOLDERS: [&str; 2] = ["../wit", "../../wit"];

/// How the name of a handler ends that may reject, see `wit/reactive.wit`.
const OR_REJECT: &str = "-or-reject";

/// What weir gives to guests. Only what is called becomes an import of the guest.
const IMPORTS: &str = "
    package weir:sdk-rust;
    world imports {
        import weir:reactive/resources@0.1.0;
        import weir:reactive/events@0.1.0;
        import wasi:keyvalue/store@0.2.0-draft2;
        import wasi:keyvalue/atomics@0.2.0-draft2;
        import wasi:keyvalue/batch@0.2.0-draft2;
        import wasi:config/store@0.2.0-rc.1;
        import wasi:logging/logging@0.1.0-draft;
        import wasi:messaging/producer@0.2.0-draft;
        import weir:http/client@0.1.0;
        import weir:sql/sql@0.1.0;
    }";

/// The bindings of all imports; for the crate `weir` only.
#[doc(hidden)]
#[proc_macro]
pub fn bindings(_: TokenStream) -> TokenStream {
    wit_folder()
        .map(|wit| {
            format!(
                "::wit_bindgen::generate!({{
                    inline: {IMPORTS:?},
                    path: {wit:?},
                    generate_all,
                    generate_unused_types: true,
                }});"
            )
        })
        .unwrap_or_else(|reason| error(&reason))
        .parse()
        .expect("the macro writes Rust")
}

/// See the crate `weir`.
#[proc_macro_attribute]
pub fn handler(arguments: TokenStream, function: TokenStream) -> TokenStream {
    let exported = name_of(arguments)
        .and_then(|name| Ok((name, function_name(&function)?, wit_folder()?)))
        .map(|(name, function, wit)| export(name.as_deref(), &function, &wit))
        .unwrap_or_else(|reason| error(&reason));
    let mut both = function;
    both.extend(
        exported
            .parse::<TokenStream>()
            .expect("the macro writes Rust"),
    );
    both
}

/// A module that exports `function` as the handler `name`.
fn export(name: Option<&str>, function: &str, wit: &Path) -> String {
    let (package, items, guest, method);
    let answer = match name {
        None => {
            package = "weir:sdk-rust-handler".to_string();
            items = "export weir:reactive/event-handler-or-reject@0.1.0;".to_string();
            guest = "exports::weir::reactive::event_handler_or_reject::Guest".to_string();
            method = "handle_event_or_reject".to_string();
            "or_reject"
        }
        Some(name) => {
            let may_reject = name.ends_with(OR_REJECT);
            let error = if may_reject { "failure" } else { "string" };
            package = format!("weir:sdk-rust-handler-{name}");
            items = format!(
                "use weir:reactive/types@0.1.0.{{event, failure}};
                export {name}: func(ev: event) -> result<option<event>, {error}>;"
            );
            guest = "Guest".to_string();
            method = name.replace('-', "_");
            if may_reject { "or_reject" } else { "or_retry" }
        }
    };
    let error = if answer == "or_reject" {
        "::weir::types::Failure"
    } else {
        "String"
    };
    let world = format!("package {package}; world handler {{ {items} }}");
    format!(
        "#[doc(hidden)]
        mod __weir_handler_{function} {{
            ::weir::__wit_bindgen::generate!({{
                inline: {world:?},
                path: {wit:?},
                with: {{ \"weir:reactive/types@0.1.0\": ::weir::types }},
                runtime_path: \"::weir::__wit_bindgen::rt\",
                generate_all,
            }});
            struct Handler;
            impl {guest} for Handler {{
                fn {method}(
                    event: ::weir::Event,
                ) -> ::core::result::Result<::core::option::Option<::weir::Event>, {error}> {{
                    ::weir::__answer::{answer}(super::{function}(event))
                }}
            }}
            export!(Handler);
        }}"
    )
}

/// The handler's name: nothing, or one literal.
fn name_of(arguments: TokenStream) -> Result<Option<String>, String> {
    let tokens: Vec<TokenTree> = arguments.into_iter().collect();
    match tokens.as_slice() {
        [] => Ok(None),
        [TokenTree::Literal(literal)] => {
            let text = literal.to_string();
            let name = text
                .strip_prefix('"')
                .and_then(|rest| rest.strip_suffix('"'));
            match name {
                Some(name) if is_name(name) => Ok(Some(name.to_string())),
                _ => Err(format!(
                    "{text} is no name of a handler: words of lower-case letters and digits, \
                     each beginning with a letter, with dashes between, such as \"on-order\""
                )),
            }
        }
        _ => Err("a handler's name is one text, such as #[weir::handler(\"on-order\")]".into()),
    }
}

fn is_name(name: &str) -> bool {
    name.split('-').all(|word| {
        word.starts_with(|c: char| c.is_ascii_lowercase())
            && word
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
    })
}

/// The name of the function behind the attribute: what follows on `fn`, outside of any brackets.
fn function_name(function: &TokenStream) -> Result<String, String> {
    let mut tokens = function.clone().into_iter();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Ident(word) if word.to_string() == "fn" => {
                if let Some(TokenTree::Ident(name)) = tokens.next() {
                    return Ok(name.to_string());
                }
            }
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => break,
            _ => {}
        }
    }
    Err("#[weir::handler] stands before a function of a module, fn(Event) -> weir::Result".into())
}

fn wit_folder() -> Result<PathBuf, String> {
    let crate_weir = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    WIT_FOLDERS
        .iter()
        .map(|folder| crate_weir.join(folder))
        .find(|folder| folder.join("reactive.wit").is_file())
        .ok_or_else(|| {
            format!(
                "weir's WIT is missing: the folder wit, with reactive.wit and deps, has to be {} \
                 from {}",
                WIT_FOLDERS.join(" or "),
                crate_weir.display()
            )
        })
}

fn error(reason: &str) -> String {
    format!("::core::compile_error!({reason:?});")
}
