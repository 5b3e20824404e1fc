//! Connections: how many there are at a time, and how long each may be silent.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
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
                    let peer = Peer { address, until: Arc::new(Mutex::new(Instant::now() + self.patience)) };
                    return (Line::new(stream, peer.clone(), Arc::clone(&self.open)), peer);
                }
                // The client has gone, or the process has no descriptors left: neither ends the server.
                Err(_) => tokio::time::sleep(LOOK).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<Peer> {
        let address = self.listener.local_addr()?;
        Ok(Peer { address, until: Arc::new(Mutex::new(Instant::now())) })
    }
}

/// Who is at the other end, and until when the connection may last.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    address: SocketAddr,
    until: Arc<Mutex<Instant>>,
}

impl Peer {
    /// Gives the connection this much time from now on.
    pub(super) fn extend(&self, time: Duration) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now() + time;
    }

    fn until(&self) -> Instant {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner)
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
        Pin::new(&mut self.stream).poll_flush(context)
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
