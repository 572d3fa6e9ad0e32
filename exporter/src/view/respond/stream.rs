//! The body of a view: one piece is on its way to the client, and the next one is rendered when it was taken.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use hyper::body::Frame;
use tokio::sync::mpsc;

use super::{LARGE_PIECE_BYTES, PIECE_BYTES, Pieces, Progress, View};
use crate::listen::Closer;
use crate::log::{self, Severity, Value};

/// Starts rendering, and returns the body.
pub(super) fn body(view: View, pieces: Box<dyn Pieces>, closer: Option<Closer>) -> Body {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        if send(&view, pieces, &sender).await == End::Slow {
            view.views.count_cut_off("slow");
            log::rate_limited(
                Severity::Info,
                "closed the connection of a client that reads a view slowly",
                &[],
            );
            if let Some(closer) = closer {
                closer.close();
            }
        }
    });
    Body::new(ViewBody(receiver))
}

#[derive(PartialEq, Eq)]
enum End {
    /// The client has all of it, or is gone.
    Done,
    Slow,
}

enum Item {
    Piece(Bytes),
    End,
    /// The body is incomplete.
    Failed,
}

async fn send(view: &View, mut pieces: Box<dyn Pieces>, sender: &mpsc::Sender<Item>) -> End {
    loop {
        // Not on the thread that renders: pieces that stay would scatter its memory, and huge rows need much at once.
        let mut out = Vec::with_capacity(LARGE_PIECE_BYTES + PIECE_BYTES);
        let rendered = view.read(move |snapshot| {
            let progress = pieces.next(snapshot, &mut out)?;
            Ok((pieces, Bytes::from(out), progress))
        });
        let (rest, mut bytes, progress) = match rendered.await {
            Ok(rendered) => rendered,
            Err(error) => {
                log::error("a view is incomplete", &[("error", Value::Str(error.message()))]);
                let _ = view.admission.taken(sender.send(Item::Failed)).await;
                return End::Done;
            }
        };
        pieces = rest;
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(PIECE_BYTES));
            match view.admission.taken(sender.send(Item::Piece(piece))).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return End::Done,
                Err(_) => return End::Slow,
            }
        }
        let last = match progress {
            Progress::More => continue,
            Progress::Complete => Item::End,
            Progress::Gone => Item::Failed,
        };
        // The slot stays taken until the client has the last piece.
        let taken = async {
            let _ = sender.send(last).await;
            sender.closed().await;
        };
        return if view.admission.taken(taken).await.is_ok() { End::Done } else { End::Slow };
    }
}

struct ViewBody(mpsc::Receiver<Item>);

impl hyper::body::Body for ViewBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        self.0.poll_recv(context).map(|item| match item {
            Some(Item::Piece(bytes)) => Some(Ok(Frame::data(bytes))),
            Some(Item::End) => None,
            // Also if the task has ended: the client must not take a part for all of it.
            Some(Item::Failed) | None => Some(Err(std::io::Error::other("the view is incomplete"))),
        })
    }
}
