//! `shell,v2`: a command's stdout, stderr and exit code, each for itself.

use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::{Adb, AdbError};

const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const EXIT: u8 = 3;
/// Nothing more comes on stdin.
const CLOSE_STDIN: [u8; 5] = [4, 0, 0, 0, 0];
/// Id and length.
const FRAME: usize = 5;
/// What is read of one command, both outputs together, bytes.
const MAX_OUTPUT: usize = 4 << 20;

/// How a command ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Output {
    /// What it wrote.
    pub stdout: Vec<u8>,
    /// What it complained of.
    pub stderr: Vec<u8>,
    /// Its exit code.
    pub code: u8,
}

impl Output {
    /// Its stdout as text without the white space around it.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim().to_owned()
    }

    /// Its stderr, likewise.
    #[must_use]
    pub fn complaint(&self) -> String {
        String::from_utf8_lossy(&self.stderr).trim().to_owned()
    }
}

impl Adb {
    /// Runs a line in the device's shell, with nothing on its stdin. Cancel-safe: adbd ends a command
    /// whose stream is closed.
    ///
    /// # Errors
    /// [`AdbError::NoExit`] where its connection ended first; otherwise [`AdbError`]. A command that
    /// failed is none: its code says so.
    pub async fn shell(&self, line: &str, limit: Duration) -> Result<Output, AdbError> {
        let run = self.run(line, limit);
        let silent = |_elapsed| AdbError::Silent {
            what: line.to_owned(),
            limit,
        };
        timeout(limit, run).await.map_err(silent)?
    }

    async fn run(&self, line: &str, limit: Duration) -> Result<Output, AdbError> {
        let stream = self.open(&format!("shell,v2,raw:{line}"), limit).await?;
        let (mut from, mut to) = stream.into_split();
        // One that is short has ended before it can be told, which is no failure of it.
        let told = async {
            to.write_all(&CLOSE_STDIN).await.ok();
            std::future::pending::<()>().await;
        };
        let heard = async {
            let mut frames = Frames::default();
            let mut read = BytesMut::with_capacity(4096);
            loop {
                let got = from.read_buf(&mut read).await;
                if !matches!(got, Ok(n) if n > 0) {
                    return Err(match self.is_lost() {
                        Some(lost) => lost.into(),
                        None => AdbError::NoExit(line.to_owned()),
                    });
                }
                match frames.take(&mut read) {
                    Ok(Some(output)) => return Ok(output),
                    Ok(None) => {}
                    Err(TooMuch) => return Err(AdbError::TooMuch(line.to_owned())),
                }
            }
        };
        tokio::select! {
            output = heard => output,
            () = told => Err(AdbError::NoExit(line.to_owned())),
        }
    }
}

/// More than [`MAX_OUTPUT`].
#[derive(Debug, PartialEq, Eq)]
struct TooMuch;

/// Gathers frames up to the exit code.
#[derive(Debug, Default)]
struct Frames {
    output: Output,
}

impl Frames {
    /// Takes whole frames out of `read`; the output once the exit code was among them.
    fn take(&mut self, read: &mut BytesMut) -> Result<Option<Output>, TooMuch> {
        while read.len() >= FRAME {
            let id = read[0];
            let length = u32::from_le_bytes([read[1], read[2], read[3], read[4]]) as usize;
            let held = self.output.stdout.len() + self.output.stderr.len();
            if length > MAX_OUTPUT.saturating_sub(held) {
                return Err(TooMuch);
            }
            if read.len() - FRAME < length {
                return Ok(None);
            }
            read.advance(FRAME);
            let frame = read.split_to(length);
            match id {
                STDOUT => self.output.stdout.extend_from_slice(&frame),
                STDERR => self.output.stderr.extend_from_slice(&frame),
                EXIT => {
                    self.output.code = frame.first().copied().unwrap_or(u8::MAX);
                    return Ok(Some(std::mem::take(&mut self.output)));
                }
                _ => {}
            }
        }
        Ok(None)
    }
}

/// `word` as the device's shell takes it literally.
#[must_use]
pub fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(id: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap();
        let mut frame = vec![id];
        frame.extend(length.to_le_bytes());
        frame.extend(payload);
        frame
    }

    proptest! {
        #[test]
        fn outputs_are_told_apart_however_they_come(
            parts in proptest::collection::vec((1_u8..3, proptest::collection::vec(any::<u8>(), 0..90)), 0..9),
            code: u8,
            cut in 1_usize..50,
        ) {
            let mut wire = Vec::new();
            let mut want = Output { code, ..Output::default() };
            for (id, bytes) in &parts {
                wire.extend(frame(*id, bytes));
                let to = if *id == STDOUT { &mut want.stdout } else { &mut want.stderr };
                to.extend(bytes);
            }
            wire.extend(frame(EXIT, &[code]));
            let (mut frames, mut read, mut got) = (Frames::default(), BytesMut::new(), None);
            for piece in wire.chunks(cut) {
                prop_assert!(got.is_none());
                read.extend_from_slice(piece);
                got = frames.take(&mut read).unwrap();
            }
            prop_assert_eq!(got, Some(want));
        }
    }

    #[test]
    fn a_frame_that_is_too_long_is_not_waited_for() {
        let mut read = BytesMut::from(&[STDOUT, 0xff, 0xff, 0xff, 0x7f][..]);
        assert_eq!(Frames::default().take(&mut read), Err(TooMuch));
    }

    #[test]
    fn a_quoted_word_is_one_word() {
        assert_eq!(quote("a b"), "'a b'");
        assert_eq!(quote("it's $HOME"), r"'it'\''s $HOME'");
    }
}
