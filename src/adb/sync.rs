//! `sync:`: a file pushed to the device.

use std::time::Duration;

use bytes::{BufMut, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::{Adb, AdbError, AdbStream};

/// What adbd takes in one DATA.
const CHUNK: usize = 64 << 10;
/// What adbd takes for a path and its mode.
const MAX_PATH: usize = 1024;
/// A sentence of the device.
const MAX_WORDS: usize = 4096;

impl Adb {
    /// Writes a file on the device, whose folder is made where it is missing; it has the permissions
    /// `mode` and the time `modified`, seconds since 1970. adbd gives everybody what `mode` gives the
    /// owner. Cancel-safe; a file that was begun may be left there.
    ///
    /// # Errors
    /// [`AdbError::NotWritten`] with the device's words; otherwise [`AdbError`].
    pub async fn push(
        &self,
        path: &str,
        contents: &[u8],
        (mode, modified): (u32, u32),
        limit: Duration,
    ) -> Result<(), AdbError> {
        let what = format!("{path},{}", 0o10_0000 | (mode & 0o777));
        if path.is_empty() || what.len() > MAX_PATH || path.contains('\0') {
            return Err(AdbError::BadName(path.chars().take(80).collect()));
        }
        let work = async {
            let mut stream = self.open("sync:", limit).await?;
            let said = exchange(&mut stream, &what, contents, modified).await;
            // Where the device refuses, it says so before it has taken everything.
            match said {
                Ok(None) => Ok(()),
                Ok(Some(why)) => Err(AdbError::NotWritten {
                    path: path.to_owned(),
                    why,
                }),
                Err(error) => Err(match self.is_lost() {
                    Some(lost) => lost.into(),
                    None => AdbError::NotWritten {
                        path: path.to_owned(),
                        why: error.to_string(),
                    },
                }),
            }
        };
        let silent = |_elapsed| AdbError::Silent {
            what: format!("push {path}"),
            limit,
        };
        timeout(limit, work).await.map_err(silent)?
    }
}

/// The device's complaint, if it has one.
async fn exchange(
    stream: &mut AdbStream,
    what: &str,
    contents: &[u8],
    modified: u32,
) -> std::io::Result<Option<String>> {
    let (mut out, mut sent) = (BytesMut::new(), Ok(()));
    request(&mut out, b"SEND", what.as_bytes());
    for chunk in contents.chunks(CHUNK) {
        request(&mut out, b"DATA", chunk);
        if out.len() >= CHUNK {
            sent = stream.write_all_buf(&mut out).await;
            if sent.is_err() {
                break;
            }
        }
    }
    if sent.is_ok() {
        out.put_slice(b"DONE");
        out.put_u32_le(modified);
        sent = stream.write_all_buf(&mut out).await;
    }
    let mut head = [0; 8];
    match stream.read_exact(&mut head).await {
        Ok(_) => {}
        Err(error) => return Err(sent.err().unwrap_or(error)),
    }
    if head.starts_with(b"OKAY") {
        return Ok(None);
    }
    let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
    let mut words = vec![0; MAX_WORDS.min(length as usize)];
    stream.read_exact(&mut words).await?;
    Ok(Some(String::from_utf8_lossy(&words).into_owned()))
}

/// Id, length, bytes. The length is of chunks and paths: it fits.
fn request(out: &mut BytesMut, id: &[u8; 4], bytes: &[u8]) {
    out.put_slice(id);
    out.put_u32_le(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    out.put_slice(bytes);
}
