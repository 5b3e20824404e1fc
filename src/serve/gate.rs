//! Connections: how many there are at a time, and how long each may be silent.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, Sleep};

/// Connections that are open at a time; others wait until one of them ends.
const MOST_CONNECTIONS: usize = 64;

/// How often is looked whether a connection has ended, while all are taken.
const LOOK: Duration = Duration::from_millis(20);

/// Where connections come in.
pub(super) struct Gate {
    listener: TcpListener,
    open: Arc<AtomicUsize>,
    patience: Duration,
}

impl Gate {
    /// A gate at which a request has to be there after `patience`.
    pub(super) fn new(listener: TcpListener, patience: Duration) -> Self {
        Self { listener, open: Arc::new(AtomicUsize::new(0)), patience }
    }
}

impl Listener for Gate {
    type Io = Line;
    type Addr = Peer;

    async fn accept(&mut self) -> (Line, Peer) {
        loop {
            while self.open.load(Ordering::Acquire) >= MOST_CONNECTIONS {
                tokio::time::sleep(LOOK).await;
            }
            match self.listener.accept().await {
                Ok((stream, address)) => {
                    // Answers are small and whole.
                    let _ = stream.set_nodelay(true);
                    let peer = Peer::new(address, self.patience);
                    return (Line::new(stream, peer.clone(), Arc::clone(&self.open)), peer);
                }
                // The client has gone, or the process has no descriptors left: neither ends the server.
                Err(_) => tokio::time::sleep(LOOK).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<Peer> {
        Ok(Peer::new(self.listener.local_addr()?, self.patience))
    }
}

/// Who is at the other end, and until when the connection may last.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    address: SocketAddr,
    patience: Duration,
    time: Arc<Mutex<Time>>,
}

#[derive(Clone, Copy, Debug)]
struct Time {
    until: Instant,
    /// Whether an answer is on its way; once it has been taken, the next request is waited for.
    is_sending: bool,
}

impl Peer {
    /// Somebody whose request has to be there after `patience`.
    fn new(address: SocketAddr, patience: Duration) -> Self {
        let time = Time { until: Instant::now() + patience, is_sending: false };
        Self { address, patience, time: Arc::new(Mutex::new(time)) }
    }

    /// A request is there; its answer may take this long to be made.
    pub(super) fn answer_within(&self, time: Duration) {
        self.set(time, false);
    }

    /// The answer is there; it may take this long to be fetched.
    pub(super) fn fetch_within(&self, time: Duration) {
        self.set(time, true);
    }

    /// All that there was to send has been taken.
    fn fetched(&self) {
        if self.time().is_sending {
            self.set(self.patience, false);
        }
    }

    fn set(&self, time: Duration, is_sending: bool) {
        *self.time() = Time { until: Instant::now() + time, is_sending };
    }

    fn time(&self) -> MutexGuard<'_, Time> {
        self.time.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn until(&self) -> Instant {
        self.time().until
    }
}

impl Connected<IncomingStream<'_, Gate>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Gate>) -> Self {
        stream.remote_addr().clone()
    }
}

/// A connection that ends when its time is over.
pub(super) struct Line {
    stream: TcpStream,
    peer: Peer,
    alarm: Pin<Box<Sleep>>,
    open: Arc<AtomicUsize>,
}

impl Line {
    fn new(stream: TcpStream, peer: Peer, open: Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, Ordering::AcqRel);
        let alarm = Box::pin(tokio::time::sleep_until(peer.until()));
        Self { stream, peer, alarm, open }
    }

    /// An error once the time is over; until then the task is woken at that moment.
    fn in_time(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        loop {
            let until = self.peer.until();
            if self.alarm.deadline() != until {
                self.alarm.as_mut().reset(until);
            }
            match self.alarm.as_mut().poll(context) {
                Poll::Pending => return Ok(()),
                Poll::Ready(()) if self.peer.until() == until => {
                    let error = format!("{} took too long", self.peer.address);
                    return Err(io::Error::new(io::ErrorKind::TimedOut, error));
                }
                // It was given more time meanwhile.
                Poll::Ready(()) => {}
            }
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::AcqRel);
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.in_time(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.in_time(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.in_time(context)?;
        std::task::ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        // Flushed is what was written whole. The alarm has to know the new time.
        self.peer.fetched();
        self.in_time(context)?;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.in_time(context)?;
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_has_the_same_time() {
        let patience = Duration::from_secs(1);
        let long = Duration::from_secs(3600);
        let peer = Peer::new(([127, 0, 0, 1], 8080).into(), patience);
        let is_waited_for = |peer: &Peer| peer.until() <= Instant::now() + patience;
        for _ in 0..2 {
            assert!(is_waited_for(&peer));
            peer.answer_within(long);
            // What is flushed before there is an answer is none.
            peer.fetched();
            assert!(!is_waited_for(&peer));
            peer.fetch_within(long);
            assert!(!is_waited_for(&peer));
            peer.fetched();
        }
        assert!(is_waited_for(&peer));
    }
}
