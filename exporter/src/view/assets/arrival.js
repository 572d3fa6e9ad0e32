// The page of a trace that is not stored yet shows it when it arrives.

const missing = document.querySelector("[data-trace]");
let arrivals = null;

/** Loads the page again if the trace has arrived. */
async function look() {
  try {
    const response = await fetch(location.href);
    if (response.ok) location.reload();
  } catch {
    // Without a connection, the next one looks again.
  }
}

function wait() {
  arrivals?.close();
  arrivals = null;
  // A browser has six connections to a server, so a page that nobody sees has none.
  if (document.hidden) return;
  const source = new EventSource(`/live?trace=${missing.dataset.trace}`);
  arrivals = source;
  // It can have arrived before the connection, or among too many changes.
  for (const name of ["open", "trace", "skipped"]) source.addEventListener(name, look);
  source.addEventListener("error", () => {
    // The browser does not connect again after an error of the server.
    if (source.readyState === EventSource.CLOSED) setTimeout(() => source === arrivals && wait(), 2000);
  });
}

missing.querySelector(".waiting").hidden = false;
document.addEventListener("visibilitychange", wait);
addEventListener("pagehide", () => arrivals?.close());
wait();
