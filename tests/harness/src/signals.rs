//! Ends a program in order on Ctrl-C or SIGTERM: first it stops the programs that it started.

use std::sync::mpsc::{self, Receiver};

use tokio::signal::unix::{SignalKind, signal};

use crate::{Error, Result, wait};

/// Returns a channel that receives the first signal. The signal also ends every wait with an error.
pub fn listen() -> Result<Receiver<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::when("a runtime for signals"))?;
    let registered = runtime.block_on(async {
        Ok::<_, std::io::Error>((signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?))
    });
    let (mut interrupt, mut terminate) = registered.map_err(Error::when("signals"))?;

    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        wait::interrupt();
        let _ = sender.send(());
    });
    Ok(receiver)
}
