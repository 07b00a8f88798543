//! The one thread that owns the database, and the handle that queues for it.

use rusqlite::{Connection, TransactionBehavior};
use time::OffsetDateTime;
use tokio::sync::{mpsc, oneshot};

use super::{InstanceRow, JournalError, LeaseRow, SessionRow, Under, read, write};
use crate::model::{Duty, InstanceId, Lease, SessionId, Traffic};

/// Callers wait here when the disk is slower than they are.
const QUEUE: usize = 1024;
/// The most that one transaction carries.
const BATCH: usize = 256;

type Work = Box<dyn FnOnce(&Connection) -> Result<(), JournalError> + Send>;

struct Job {
    work: Work,
    /// Whether this may not be lost to a power cut.
    lasting: bool,
    /// Told once the transaction is on disk, or why it is not.
    done: oneshot::Sender<Result<(), JournalError>>,
}

/// The handle. Cheap to clone; the thread ends with the last one. A change is durable once its
/// method has returned; dropping the future does not take the change back.
#[derive(Debug, Clone)]
pub struct Journal {
    queue: mpsc::Sender<Job>,
}

pub(super) fn start(database: Connection) -> Result<Journal, JournalError> {
    let (queue, jobs) = mpsc::channel(QUEUE);
    std::thread::Builder::new()
        .name("journal".to_owned())
        .spawn(move || run(database, jobs))
        .map_err(|error| JournalError::Database(error.to_string()))?;
    Ok(Journal { queue })
}

fn run(mut database: Connection, mut jobs: mpsc::Receiver<Job>) {
    while let Some(first) = jobs.blocking_recv() {
        let mut batch = vec![first];
        while batch.len() < BATCH {
            match jobs.try_recv() {
                Ok(job) => batch.push(job),
                Err(_) => break,
            }
        }
        let lasting = batch.iter().any(|job| job.lasting);
        let (work, done): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|job| (job.work, job.done)).unzip();
        let outcome = commit(&mut database, work, lasting);
        for done in done {
            // A caller that stopped waiting loses nothing: the change is made.
            done.send(outcome.clone()).ok();
        }
    }
}

/// All or nothing: what fails here (a full disk, a broken file) fails for everybody.
fn commit(database: &mut Connection, work: Vec<Work>, lasting: bool) -> Result<(), JournalError> {
    let synchronous = if lasting { "FULL" } else { "NORMAL" };
    database.pragma_update(None, "synchronous", synchronous)?;
    let change = database.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for work in work {
        work(&change)?;
    }
    change.commit()?;
    Ok(())
}

impl Journal {
    async fn change(
        &self,
        lasting: bool,
        work: impl FnOnce(&Connection) -> Result<(), JournalError> + Send + 'static,
    ) -> Result<(), JournalError> {
        let (done, answer) = oneshot::channel();
        let job = Job {
            work: Box::new(work),
            lasting,
            done,
        };
        self.queue
            .send(job)
            .await
            .map_err(|_closed| JournalError::Closed)?;
        answer.await.map_err(|_closed| JournalError::Closed)?
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Connection) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        let (tell, answer) = oneshot::channel();
        self.change(false, move |database| {
            tell.send(question(database)).ok();
            Ok(())
        })
        .await?;
        answer.await.map_err(|_closed| JournalError::Closed)?
    }

    /// Returns once the writer has come to this, and so through everything before it.
    ///
    /// # Errors
    /// [`JournalError`]: it cannot write.
    pub async fn turn(&self) -> Result<(), JournalError> {
        self.change(false, |_database| Ok(())).await
    }

    /// A session with its instance and its address: known together or not at all.
    ///
    /// # Errors
    /// [`JournalError`]: nothing was written.
    pub async fn order(
        &self,
        session: SessionRow,
        under: Under,
        lease: Option<LeaseRow>,
    ) -> Result<(), JournalError> {
        self.change(false, move |database| {
            if let Some(lease) = &lease {
                write::lease(database, lease)?;
            }
            match under {
                Under::Fresh(instance) => write::instance(database, &instance)?,
                Under::Parked(instance) => write::claim(database, instance)?,
                Under::Booting(_) => {}
            }
            write::session(database, &session)
        })
        .await
    }

    /// The session as it is now. An ending survives a power cut.
    ///
    /// # Errors
    /// [`JournalError`]: nothing was written.
    pub async fn session(&self, row: SessionRow) -> Result<(), JournalError> {
        let lasting = row.ending.is_some();
        self.change(lasting, move |database| write::session(database, &row))
            .await
    }

    /// Whether the node is in service; survives a power cut.
    ///
    /// # Errors
    /// [`JournalError`]: nothing was written.
    pub async fn duty(&self, duty: Duty) -> Result<(), JournalError> {
        self.change(true, move |database| write::note(database, "duty", &duty))
            .await
    }

    /// The lease that was granted last; one of a fresh owner survives a power cut.
    ///
    /// # Errors
    /// [`JournalError`]: nothing was written.
    pub async fn lease_granted(&self, lease: Lease, fresh: bool) -> Result<(), JournalError> {
        self.change(fresh, move |database| {
            write::note(database, "lease", &lease)
        })
        .await
    }

    /// Samples of live sessions' meters.
    ///
    /// # Errors
    /// [`JournalError`]: nothing was written.
    pub async fn samples(&self, samples: Vec<(SessionId, Traffic)>) -> Result<(), JournalError> {
        self.change(false, move |database| {
            samples
                .iter()
                .try_for_each(|(id, traffic)| write::sample(database, id, *traffic))
        })
        .await
    }

    /// The instance as it is now.
    ///
    /// # Errors
    /// [`JournalError`]: nothing was written.
    pub async fn instance(&self, row: InstanceRow) -> Result<(), JournalError> {
        self.change(false, move |database| write::instance(database, &row))
            .await
    }

    /// Nothing of the instance is left.
    ///
    /// # Errors
    /// [`JournalError`]: nothing was written.
    pub async fn instance_gone(&self, id: InstanceId) -> Result<(), JournalError> {
        self.change(false, move |database| write::instance_gone(database, id))
            .await
    }

    /// An address is held, or rests.
    ///
    /// # Errors
    /// [`JournalError`]: nothing was written.
    pub async fn lease(&self, row: LeaseRow) -> Result<(), JournalError> {
        self.change(false, move |database| write::lease(database, &row))
            .await
    }

    /// Addresses that have rested enough.
    ///
    /// # Errors
    /// [`JournalError`]: nothing was written.
    pub async fn leases_over(&self, instances: Vec<InstanceId>) -> Result<(), JournalError> {
        self.change(false, move |database| {
            instances
                .iter()
                .try_for_each(|instance| write::lease_over(database, *instance))
        })
        .await
    }

    /// One session, however it is.
    ///
    /// # Errors
    /// [`JournalError`] when the question cannot be answered.
    pub async fn find(&self, id: &SessionId) -> Result<Option<SessionRow>, JournalError> {
        let id = id.clone();
        self.ask(move |database| read::session(database, &id)).await
    }

    /// Every instance that is not gone.
    ///
    /// # Errors
    /// [`JournalError`] when the question cannot be answered.
    pub async fn instances(&self) -> Result<Vec<InstanceRow>, JournalError> {
        self.ask(read::instances).await
    }

    /// The sessions that ended last, newest first.
    ///
    /// # Errors
    /// [`JournalError`] when the question cannot be answered.
    pub async fn ended(&self, limit: u32) -> Result<Vec<SessionRow>, JournalError> {
        self.ask(move |database| read::ended(database, limit)).await
    }

    /// Forgets at most `limit` sessions that ended before `before`; answers how many.
    ///
    /// # Errors
    /// [`JournalError`]: nothing was forgotten.
    pub async fn prune(&self, before: OffsetDateTime, limit: u32) -> Result<usize, JournalError> {
        self.ask(move |database| write::prune(database, before, limit))
            .await
    }
}
