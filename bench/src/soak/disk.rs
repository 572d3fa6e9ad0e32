//! A small disk that another program fills.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// The interval at which freed space is used again.
const INTERVAL: Duration = Duration::from_millis(50);

/// A file that takes all free space of its disk until it is dropped.
pub(super) struct Ballast {
    is_done: Arc<AtomicBool>,
    writer: Option<JoinHandle<()>>,
}

impl Ballast {
    pub(super) fn fill(disk: &Path) -> Ballast {
        let is_done = Arc::new(AtomicBool::new(false));
        let (path, done) = (disk.join("ballast"), Arc::clone(&is_done));
        let writer = std::thread::spawn(move || {
            if let Ok(mut file) = File::create(&path) {
                while !done.load(Ordering::SeqCst) {
                    take_all(&mut file);
                    std::thread::sleep(INTERVAL);
                }
            }
            let _ = std::fs::remove_file(&path);
        });
        Ballast { is_done, writer: Some(writer) }
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        self.is_done.store(true, Ordering::SeqCst);
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

fn take_all(file: &mut File) {
    let block = vec![0; 1 << 20];
    for size in [1 << 20, 1 << 12] {
        while file.write_all(&block[..size]).is_ok() {}
    }
}
