//! A listener where nobody may ever arrive.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use chaser::runtime::Tasks;
use tokio::net::TcpListener;

use super::Lab;

pub struct Trap {
    address: SocketAddr,
    visits: Arc<AtomicUsize>,
}

impl Trap {
    /// On an address inside the lab.
    pub fn inside(lab: &Lab, address: SocketAddr, tasks: &Tasks) -> Self {
        Self::set(lab.listen(address), tasks)
    }

    /// On an address of the machine itself; port 0 is a free one.
    pub fn on_host(address: SocketAddr, tasks: &Tasks) -> Self {
        let listener = std::net::TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        Self::set(TcpListener::from_std(listener).unwrap(), tasks)
    }

    /// On an address of the host's side of a lab.
    pub fn on_the_side_of(lab: &Lab, address: SocketAddr, tasks: &Tasks) -> Self {
        let listener = lab.host_side(move || std::net::TcpListener::bind(address).unwrap());
        listener.set_nonblocking(true).unwrap();
        Self::set(TcpListener::from_std(listener).unwrap(), tasks)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn visits(&self) -> usize {
        self.visits.load(Ordering::Relaxed)
    }

    fn set(listener: TcpListener, tasks: &Tasks) -> Self {
        let trap = Self {
            address: listener.local_addr().unwrap(),
            visits: Arc::default(),
        };
        let visits = Arc::clone(&trap.visits);
        tasks.spawn("trap", |_stop| async move {
            while listener.accept().await.is_ok() {
                visits.fetch_add(1, Ordering::Relaxed);
            }
        });
        trap
    }
}
