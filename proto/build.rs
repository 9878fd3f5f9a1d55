//! Compiles the protos with a compiler written in Rust, so that no protoc is needed on the machine.
//!
//! The descriptors are kept without comments beside the generated code; a test compares them with
//! `descriptor.txt`.

use prost::Message;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = Path::new("proto");
    println!("cargo::rerun-if-changed=proto");
    let mut files = Vec::new();
    collect(root, &mut files)?;
    files.sort();
    let descriptors = protox::compile(&files, [root])?;

    let mut bare = descriptors.clone();
    for file in &mut bare.file {
        file.source_code_info = None;
    }
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), bare.encode_to_vec())?;

    // Ordered maps: equal messages have equal bytes, on which fingerprints rest. No `connect` helpers on the
    // clients: AgentLink has a call of that name, and a channel is made from `address::Address`.
    tonic_prost_build::configure()
        .btree_map(".")
        .build_transport(false)
        .compile_fds(descriptors)?;
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|e| e == "proto") {
            files.push(path);
        }
    }
    Ok(())
}
