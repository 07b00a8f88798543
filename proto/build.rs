//! Compiles the schemas under `proto/` without needing `protoc` on the build host.

use std::{env, error::Error, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let set = protox::compile(
        [
            "chaser/node/v1/node.proto",
            "chaser/relay/v1/relay.proto",
            "externalscaler/externalscaler.proto",
        ],
        ["proto"],
    )?;
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    fs::write(
        out.join("descriptors.bin"),
        prost::Message::encode_to_vec(&set),
    )?;
    tonic_prost_build::configure().compile_fds(set)?;
    Ok(())
}
