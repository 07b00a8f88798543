//! Log lines for systemd's journal: the text that people read, and each of its fields beside it
//! (`journalctl CHASER_SESSION=…`).
//!
//! Written here and not by a crate because those that are there send the bare message: what
//! `journalctl` shows would have lost its fields.

use std::{
    env,
    fmt::{Debug, Write},
    io::{self, Write as _},
    os::unix::net::UnixDatagram,
    path::PathBuf,
};

use rustix::fs::fstat;
use tokio::time::Instant;
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

/// Where journald takes entries.
const SOCKET: &str = "/run/systemd/journal/socket";

/// Whether our standard error is the journal's own stream, and not a file or a terminal that somebody
/// put in its place.
pub(super) fn is_stderr() -> bool {
    let told = env::var_os("JOURNAL_STREAM");
    let told = told.as_deref().and_then(std::ffi::OsStr::to_str);
    let ours = fstat(io::stderr()).map(|stat| format!("{}:{}", stat.st_dev, stat.st_ino));
    told.is_some_and(|told| ours.is_ok_and(|ours| ours == told))
}

/// Writes to the journal, and to standard error what it does not take.
#[derive(Debug)]
pub(super) struct Journald {
    socket: UnixDatagram,
    path: PathBuf,
    /// Whether spans are told when they close, with the time that they took.
    ends: bool,
}

impl Journald {
    /// # Errors
    /// When no journal takes entries here.
    pub(super) fn connect(ends: bool) -> io::Result<Self> {
        Self::to(PathBuf::from(SOCKET), ends)
    }

    fn to(path: PathBuf, ends: bool) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        // An entry without fields is dropped there; without a journal it fails here.
        socket.send_to(&[], &path)?;
        Ok(Self { socket, path, ends })
    }

    fn tell(&self, metadata: &Metadata<'_>, told: &Fields) {
        let entry = entry(metadata, told);
        if self.socket.send_to(&entry, &self.path).is_err() {
            // Too large for it, or it is being restarted: the line at least.
            drop(writeln!(io::stderr(), "{}", told.line()));
        }
    }
}

/// What an event or a span says of itself.
#[derive(Debug, Default, Clone)]
struct Fields {
    message: String,
    fields: Vec<(String, String)>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: String) {
        match field.name() {
            "message" => self.message = value,
            name => self.fields.push((name.to_owned(), value)),
        }
    }

    /// As a line of text.
    fn line(&self) -> String {
        let mut line = self.message.clone();
        for (name, value) in &self.fields {
            // A `String` takes everything.
            let _ok = write!(line, " {name}={value}");
        }
        line
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, format!("{value:?}"));
    }
}

/// An open span.
struct Open {
    fields: Vec<(String, String)>,
    since: Instant,
}

impl<S> Layer<S> for Journald
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut told = Fields::default();
        attributes.record(&mut told);
        for (name, _) in &mut told.fields {
            // `task{name=wheels}` is the task `wheels`.
            if name == "name" {
                span.name().clone_into(name);
            }
        }
        span.extensions_mut().insert(Open {
            fields: told.fields,
            since: Instant::now(),
        });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut told = Fields::default();
        values.record(&mut told);
        if let Some(open) = span.extensions_mut().get_mut::<Open>() {
            open.fields.extend(told.fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut told = Fields::default();
        event.record(&mut told);
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(open) = span.extensions().get::<Open>() {
                told.fields.extend(open.fields.clone());
            }
        }
        self.tell(event.metadata(), &told);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id).filter(|_| self.ends) else {
            return;
        };
        let mut told = Fields {
            message: format!("{} is over", span.name()),
            ..Fields::default()
        };
        if let Some(open) = span.extensions().get::<Open>() {
            let took = format!("{:?}", open.since.elapsed());
            told.fields.push(("took".to_owned(), took));
            told.fields.extend(open.fields.clone());
        }
        self.tell(span.metadata(), &told);
    }
}

/// One entry in the journal's own form.
fn entry(metadata: &Metadata<'_>, told: &Fields) -> Vec<u8> {
    let mut entry = Vec::with_capacity(512);
    // As syslog has them: an operator's `journalctl -p warning` means what it says.
    let priority = match *metadata.level() {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        Level::DEBUG | Level::TRACE => "7",
    };
    put(&mut entry, "MESSAGE", &told.line());
    put(&mut entry, "PRIORITY", priority);
    put(&mut entry, "SYSLOG_IDENTIFIER", "chaser");
    put(&mut entry, "TARGET", metadata.target());
    for (name, value) in &told.fields {
        put(&mut entry, &field(name), value);
    }
    entry
}

/// A field's name in the journal, where others than us have theirs.
fn field(name: &str) -> String {
    let upper = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_uppercase()
        } else {
            '_'
        }
    };
    "CHASER_".chars().chain(name.chars().map(upper)).collect()
}

/// A value of any text: its length goes before it.
fn put(entry: &mut Vec<u8>, name: &str, value: &str) {
    entry.extend_from_slice(name.as_bytes());
    entry.push(b'\n');
    entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    entry.extend_from_slice(value.as_bytes());
    entry.push(b'\n');
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// What journald makes of an entry.
    fn parsed(mut entry: &[u8]) -> BTreeMap<String, String> {
        let mut fields = BTreeMap::new();
        while let Some(end) = entry.iter().position(|byte| *byte == b'\n') {
            let name = String::from_utf8(entry[..end].to_vec()).unwrap();
            let (length, rest) = entry[end + 1..].split_at(8);
            let length = usize::try_from(u64::from_le_bytes(length.try_into().unwrap())).unwrap();
            let value = String::from_utf8(rest[..length].to_vec()).unwrap();
            assert_eq!(rest[length], b'\n');
            fields.insert(name, value);
            entry = &rest[length + 1..];
        }
        fields
    }

    #[test]
    fn an_entry_is_the_line_and_each_field_of_event_and_spans() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let journal = UnixDatagram::bind(&path).unwrap();
        let layer = Journald::to(path, true).unwrap();
        let mut buffer = vec![0; 65_536];
        assert_eq!(journal.recv(&mut buffer).unwrap(), 0);
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || {
            let _task = tracing::info_span!("task", name = "wheels").entered();
            tracing::warn!(session = %"ab…", left = 3, "it is\nlate");
        });
        let length = journal.recv(&mut buffer).unwrap();
        let entry = parsed(&buffer[..length]);
        assert_eq!(
            entry["MESSAGE"],
            "it is\nlate session=ab… left=3 task=wheels"
        );
        assert_eq!(entry["CHASER_SESSION"], "ab…");
        assert_eq!(entry["CHASER_LEFT"], "3");
        assert_eq!(entry["CHASER_TASK"], "wheels");
        assert_eq!(entry["PRIORITY"], "4");
        let length = journal.recv(&mut buffer).unwrap();
        let entry = parsed(&buffer[..length]);
        assert!(
            entry["MESSAGE"].starts_with("task is over took="),
            "{entry:?}"
        );
    }

    #[test]
    fn where_nobody_takes_entries_that_is_known_at_once() {
        let folder = tempfile::tempdir().unwrap();
        Journald::to(folder.path().join("nobody"), false).unwrap_err();
    }
}
