//! Ctrl-C and SIGTERM end the demo in order: what it started must end first.

use std::sync::mpsc::{self, Receiver};

use tokio::signal::unix::{SignalKind, signal};

use crate::{Error, Result, wait};

/// Tells of the first signal. A wait that is under way then ends with an error.
pub(crate) fn listen() -> Result<Receiver<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::when("a runtime for signals"))?;
    let registered = runtime.block_on(async {
        Ok::<_, std::io::Error>((signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?))
    });
    let (mut interrupt, mut terminate) = registered.map_err(Error::when("signals"))?;

    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        wait::interrupt();
        let _ = tell.send(());
    });
    Ok(told)
}
