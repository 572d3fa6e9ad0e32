// What all pages have: copies of values, and times in the zone of the reader.

function enhance(part) {
  part.querySelectorAll("button.copy").forEach((button) => { button.hidden = false; });
  showTimes(part);
}

// === copies ===

/** Returns the text of a value, with the characters that are shown as symbols. */
function valueText(element) {
  const copy = element.cloneNode(true);
  copy.querySelectorAll("summary").forEach((summary) => summary.remove());
  copy.querySelectorAll(".ctl").forEach((symbols) => {
    const code = (symbol) => (symbol === "\u2421" ? 0x7f : symbol.codePointAt(0) - 0x2400);
    symbols.textContent = symbols.textContent.replaceAll(/\\u\{([0-9a-f]+)\}|[\u2400-\u2421]/g, (symbol, hex) =>
      String.fromCodePoint(hex ? parseInt(hex, 16) : code(symbol)));
  });
  return copy.textContent;
}

/** Returns what a button copies. The server has the whole of a long value. */
async function textOf(button) {
  const { copy, whole } = button.dataset;
  if (copy !== undefined) return copy;
  if (whole === undefined) return valueText(button.closest(".value").querySelector(".text"));
  const response = await fetch(whole);
  if (!response.ok) throw new Error(response.statusText);
  return response.text();
}

/** Copies a text, and returns whether that is done. */
async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // The clipboard is for secure pages only: a page over HTTP of another machine selects the text.
    const area = Object.assign(document.createElement("textarea"), { value: text });
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

async function copy(button) {
  const done = await textOf(button).then(copyText, () => false);
  // The selected text has taken the focus.
  if (document.activeElement === document.body) button.focus();
  button.dataset.label ??= button.textContent;
  const isIcon = button.dataset.label.length === 1;
  button.textContent = isIcon ? (done ? "✓" : "✕") : done ? "Copied" : "Not copied";
  button.classList.add("done");
  setTimeout(() => {
    button.textContent = button.dataset.label;
    button.classList.remove("done");
  }, 1500);
}

// === times ===

const ZONE = "logtracer.zone";

// The choice without storage, which is for this page.
let chosenZone = "utc";

function zone() {
  try {
    return localStorage.getItem(ZONE) === "local" ? "local" : "utc";
  } catch {
    return chosenZone;
  }
}

function setZone(name) {
  chosenZone = name;
  try {
    localStorage.setItem(ZONE, name);
  } catch {
    // Without storage, the choice is for this page.
  }
  showZone();
}

function showZone() {
  showTimes(document);
  document.dispatchEvent(new Event("zone"));
}

const pad = (number) => String(number).padStart(2, "0");

/** Returns the offset of the chosen zone at a time, such as `+02:00`. */
function offsetAt(date) {
  const minutes = -date.getTimezoneOffset();
  return `${minutes < 0 ? "-" : "+"}${pad(Math.trunc(Math.abs(minutes) / 60))}:${pad(Math.abs(minutes) % 60)}`;
}

/** Returns the day and the time of the day in the chosen zone. */
function partsOf(date) {
  if (zone() === "utc") return [date.toISOString().slice(0, 10), date.toISOString().slice(11, 19)];
  const day = `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}`;
  return [day, `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`];
}

/** Returns the time of the day in the chosen zone. */
const clockText = (millis) => partsOf(new Date(millis))[1];

/** Returns a time of the server as RFC 3339 in the chosen zone. */
function fullText(time) {
  const date = new Date(time);
  if (zone() === "utc" || Number.isNaN(date.getTime())) return time;
  const [day, clock] = partsOf(date);
  return `${day}T${clock}${time.match(/\.\d+/)?.[0] ?? ""}${offsetAt(date)}`;
}

// How far the clock of the server is ahead of that of the browser, in milliseconds.
let serverOffset = 0;
const serverNow = () => Date.now() + serverOffset;

/** Returns a time of the day with milliseconds, and with the date if that is not today. */
function shortText(time) {
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) return time;
  const [day, clock] = partsOf(date);
  const millis = (time.match(/\.(\d{1,3})/)?.[1] ?? "").padEnd(3, "0");
  const isToday = day === partsOf(new Date(serverNow()))[0];
  return `${isToday ? "" : `${day} `}${clock}.${millis}`;
}

/** Returns how long ago a time is. */
function ageText(time) {
  const seconds = Math.max(0, Math.floor((serverNow() - Date.parse(time)) / 1000));
  if (seconds < 2) return "just now";
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} d ago`;
}

const setText = (element, text) => {
  if (element.textContent !== text) element.textContent = text;
};

/** Shows times in the zone that was chosen. The server has rendered UTC. */
function showTimes(part) {
  part.querySelectorAll("time.at").forEach((time) => {
    const full = fullText(time.dateTime);
    if (time.title) time.title = full;
    if (time.matches(".age")) setText(time, ageText(time.dataset.since));
    else setText(time, time.matches(".clock") ? shortText(time.dateTime) : full);
  });
  const name = zone() === "utc" ? "UTC" : `UTC${offsetAt(new Date())}`;
  part.querySelectorAll(".zone-name").forEach((element) => setText(element, name));
  document.querySelectorAll("[data-zone]").forEach((button) => {
    button.setAttribute("aria-pressed", String(button.dataset.zone === zone()));
  });
}

document.addEventListener("click", (event) => {
  const button = event.target instanceof Element ? event.target.closest("button") : null;
  if (button?.matches(".copy")) copy(button);
  else if (button?.dataset.zone) setZone(button.dataset.zone);
});

// A choice on one page is one for all pages that are open.
addEventListener("storage", (event) => event.key === ZONE && showZone());
